"""Which workers on this home are alive: each holds a lock on a file for as long as its process lives.

The kernel releases the lock when the process ends, however it ends. So a file `<home>/workers/<id>.lock` that can be
locked belongs to a worker that died. Crash recovery of that worker holds the lock, so that it happens once at a time,
and removes the file at its end. The socket of a worker, `<id>.sock` beside it, is removed with it.

Beside it, `<id>.platforms` has the names of the platforms that the worker has opened: a line each, written before the
platform could make anything.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskrunner.errors import Conflict
from taskrunner.files.file_lock import lock_existing, open_lock_file
from taskrunner.files.private import make_private_folder


class WorkerLock:
    """The lock of this process, held from construction until `release`.

    The file is locked before it gets its name, so that it is never seen unlocked while its worker lives. Programs that
    this process starts do not inherit it.
    """

    def __init__(self, home: Path, worker_id: str) -> None:
        """Raises Conflict when a worker of this id is alive, or died and was not recovered; OSError."""
        self._path = _path(home, worker_id)
        make_private_folder(self._path.parent)
        unnamed = self._path.with_suffix(f".{os.getpid()}.new")
        self._file = open_lock_file(unnamed)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.link(unnamed, self._path)
        except FileExistsError:
            os.close(self._file)
            raise Conflict(f"there is a worker {worker_id} already: {self._path}") from None
        finally:
            unnamed.unlink()

    def release(self) -> None:
        """This worker ends and nothing of it is left to recover. A second call does nothing."""
        if self._file >= 0:
            _remove(self._path)
            self.abandon()

    def abandon(self) -> None:
        """This worker ends and something of it may be left: it is recovered as if it had been killed."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def live_workers(home: Path) -> list[str]:
    """The ids of workers that are alive, in order."""
    return sorted(path.stem for path in (home / "workers").glob("*.lock") if not _is_dead(path) and path.exists())


def known_workers(home: Path) -> list[str]:
    """The ids of workers that are alive, or died and were not recovered."""
    return [path.stem for path in (home / "workers").glob("*.lock")]


def dead_workers(home: Path) -> list[str]:
    """The ids of workers that ended without `release`, in order."""
    return sorted(path.stem for path in (home / "workers").glob("*.lock") if _is_dead(path))


@contextmanager
def recovering(home: Path, worker_id: str) -> Iterator[bool]:
    """Encloses the recovery of a dead worker. True: the caller has the lock and recovers; when the block ends without
    an error, the lock file is removed. False: the worker lives, or another process recovers it, or has done so.
    """
    path = _path(home, worker_id)
    file = lock_existing(path)
    if file is None:
        yield False
        return
    try:
        yield True
        socket_path(home, worker_id).unlink(missing_ok=True)
        _remove(path)
    finally:
        os.close(file)


def is_alive(home: Path, worker_id: str) -> bool:
    """Whether a worker of this home holds its lock, or is being recovered."""
    path = _path(home, worker_id)
    return path.exists() and not _is_dead(path)


def note_platform(home: Path, worker_id: str, name: str) -> None:
    """A worker is about to open a platform. Raises OSError."""
    path = _platforms_path(_path(home, worker_id))
    make_private_folder(path.parent)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, f"{name}\n".encode())
    finally:
        os.close(file)


def noted_platforms(home: Path, worker_id: str) -> set[str]:
    """The platforms that a worker may have made something in. Raises OSError."""
    try:
        return set(_platforms_path(_path(home, worker_id)).read_text(encoding="utf-8").split())
    except FileNotFoundError:
        return set()


def _is_dead(path: Path) -> bool:
    file = lock_existing(path, shared=True)  # shared, so that two checks do not exclude each other
    if file is not None:
        os.close(file)
    return file is not None


def socket_path(home: Path, worker_id: str) -> Path:
    """The socket by which a worker is asked and ordered."""
    return home / "workers" / f"{worker_id}.sock"


def _path(home: Path, worker_id: str) -> Path:
    return home / "workers" / f"{worker_id}.lock"


def _platforms_path(lock: Path) -> Path:
    return lock.with_name(f"{lock.name.removesuffix('.lock')}.platforms")


def _remove(lock: Path) -> None:
    """The lock goes last: without it, nobody would look for the other file."""
    _platforms_path(lock).unlink(missing_ok=True)
    lock.unlink(missing_ok=True)
