"""The ids of pushed runs: numbers that rise, and that no later worker of the home gives again.

A peer may dispatch a task whose earlier run was here before a restart, and artifacts of that run must not be
overwritten. So the numbers come from one file in the home, which all its workers share: it has the next free number. A
worker reserves `BLOCK` numbers at a time, and after its end the rest of these are left out.
"""

from __future__ import annotations

import fcntl
import os
from itertools import count
from pathlib import Path

from taskrunner.errors import TaskFailedInternally

BLOCK = 100
"""Numbers reserved by one write, which is synced to the disk: a few milliseconds."""

WIDTH = 20
"""Digits in the file. It never changes its size, so it fits on the disk whenever it was made."""


class RunIds:
    """Without a file the ids begin at 0 with each worker."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._next, self._end = 0, 0
        self._unsaved = count()

    def next(self) -> int:
        """The next id. Raises: TaskFailedInternally, when the file cannot be read or written."""
        if self._file is None:
            return next(self._unsaved)
        if self._next == self._end:
            self._next = self._reserve(self._file)
            self._end = self._next + BLOCK
        self._next += 1
        return self._next - 1

    def _reserve(self, path: Path) -> int:
        """The first number of a block that nobody else gets."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)  # released by the close
                return _advance(file)
            finally:
                os.close(file)
        except (OSError, ValueError) as error:
            raise TaskFailedInternally(
                f"{path} cannot give the number of a run: {error}; write into it a number that no run has had"
            ) from error


def _advance(file: int) -> int:
    """Returns the number in the file, and adds `BLOCK` to it."""
    first = int(os.pread(file, WIDTH, 0) or b"0")
    os.pwrite(file, b"%0*d" % (WIDTH, first + BLOCK), 0)
    os.fsync(file)
    return first
