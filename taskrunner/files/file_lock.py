"""Locks between processes and threads: the kernel's lock of a file, which ends when its holder closes it, or dies.

Programs that this process starts do not inherit it. A lock is advisory: it excludes those that ask for it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from taskrunner.files.private import FILE


def open_lock_file(path: Path) -> int:
    """Opens a file to be locked, and makes it if it is not there. Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE)


def try_lock(file: int, *, shared: bool = False) -> bool:
    """Locks an open file, or changes the kind of its lock. False: the lock of another excludes it. Raises OSError."""
    try:
        fcntl.flock(file, _kind(shared=shared) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_existing(path: Path, *, shared: bool = False, wait: bool = False) -> int | None:
    """The open file with the lock on it. None: there is no file, it was removed meanwhile, or the lock of another
    excludes this one and `wait` is not set. Raises OSError."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with suppress(OSError):
        fcntl.flock(file, _kind(shared=shared) | (0 if wait else fcntl.LOCK_NB))
        if is_at(file, path):
            return file
    os.close(file)
    return None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Inside of this, nobody else has the lock of a file, which is made if it is not there. Waits for it, and blocks.
    Raises OSError."""
    file = open_lock_file(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def is_at(file: int, path: Path) -> bool:
    """False when an open file was removed or replaced after it was opened: nobody else comes by its lock."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _kind(*, shared: bool) -> int:
    return fcntl.LOCK_SH if shared else fcntl.LOCK_EX
