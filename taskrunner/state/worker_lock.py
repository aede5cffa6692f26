"""Which workers on this home are alive: each holds a lock on a file for as long as its process lives.

The kernel lets go of the lock when the process ends, however it ends, so a file `<home>/workers/<id>.lock` that can be
locked belongs to a worker that died. Whoever sweeps up after it holds the lock meanwhile, so that two do not do it at
once, and removes the file when it is done.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from taskrunner.errors import Conflict


class WorkerLock:
    """The sign of life of this process, held from the making of it until `release`.

    The file is locked before it gets its name, so that nobody ever sees it unlocked while its worker lives; and no
    program that this process starts inherits it.
    """

    def __init__(self, home: Path, worker_id: str) -> None:
        """Raises Conflict when a worker of this id is alive, or died and was not swept up after; OSError."""
        self._path = _path(home, worker_id)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unnamed = self._path.with_suffix(f".{os.getpid()}.new")
        self._file = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.link(unnamed, self._path)
        except FileExistsError:
            os.close(self._file)
            raise Conflict(f"there is a worker {worker_id} already: {self._path}") from None
        finally:
            unnamed.unlink()

    def release(self) -> None:
        """This worker has left nothing behind. A second call does nothing."""
        if self._file >= 0:
            self._path.unlink(missing_ok=True)
            self.abandon()

    def abandon(self) -> None:
        """This worker may have left something behind: others sweep up after it as if it had been killed."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def dead_workers(home: Path) -> list[str]:
    """The ids of workers that ended without `release`, in order."""
    return sorted(path.stem for path in (home / "workers").glob("*.lock") if _is_dead(path))


@contextmanager
def recovering(home: Path, worker_id: str) -> Iterator[bool]:
    """Sweeping up after a dead worker happens inside of this. True: it is ours to do, and when the block ends without
    an error, the worker is forgotten. False: it lives, or somebody else does it now, or has done it.
    """
    path = _path(home, worker_id)
    file = _lock(path, fcntl.LOCK_EX)
    if file is None:
        yield False
        return
    try:
        yield True
        path.unlink(missing_ok=True)
    finally:
        os.close(file)


def _is_dead(path: Path) -> bool:
    file = _lock(path, fcntl.LOCK_SH)  # shared, so that those who only look do not stop each other
    if file is not None:
        os.close(file)
    return file is not None


def _lock(path: Path, kind: int) -> int | None:
    """The open file with the lock on it; None when it is gone or somebody else holds it."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with suppress(OSError):
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file), path.stat()):  # else it was buried while we were opening it
            return file
    os.close(file)
    return None


def _path(home: Path, worker_id: str) -> Path:
    return home / "workers" / f"{worker_id}.lock"
