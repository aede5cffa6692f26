"""StepFiles: the script of the running step, and the two files that it writes for later steps.

They are made once, and written anew for each step. A container can have them mounted one by one. The worker keeps them
open, so that neither a changed mode nor a link at their place makes it read another file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Self

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally, local_failure
from taskrunner.limits import MAX_STEP_FILE
from taskrunner.steps.assignments import AssignmentError

SCRIPT, OUTPUT, ENV = "script", "output", "env"
NAMES = (SCRIPT, OUTPUT, ENV)

FILES_TIME = 60.0
"""Seconds to make or to remove three small files."""


@attrs.define
class StepFiles:
    """The three files, open. The methods block, for as long as a few kilobytes take."""

    folder: Path
    mode: int
    """Of the files."""
    give: Callable[[int], None] | None = None
    """Called with the descriptor of each new file: it may change the owner."""
    _place: int = -1
    """The folder's descriptor."""
    _open: dict[str, int] = attrs.field(factory=dict)

    @classmethod
    def make(cls, folder: Path, *, mode: int, give: Callable[[int], None] | None = None) -> Self:
        """Makes a new folder that the worker alone can change, with the three files in it. Raises OSError."""
        files = cls(folder, mode, give)
        try:
            files._make_all()
        except BaseException:
            files.remove()
            raise
        return files

    def _make_all(self) -> None:
        self.folder.mkdir(mode=0o755)
        self._place = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        if os.fstat(self._place).st_uid != os.geteuid():  # a step has put another one there just now
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), self.folder)
        os.fchmod(self._place, 0o755)
        for name in NAMES:
            self._make(name)

    def _make(self, name: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self._open[name] = number = os.open(name, flags, self.mode, dir_fd=self._place)
        os.fchmod(number, self.mode)
        if self.give:
            self.give(number)

    def path(self, name: str) -> Path:
        return self.folder / name

    def prepare(self, script: str) -> None:
        """Empties the files, and writes the script of the next step. What an earlier one has removed is made again, as
        `git clean` does it. Raises AssignmentError (something replaces them all the time), OSError."""
        try:
            if not _is_same(self._place, self.folder):
                self.remove()
                _move_away(self.folder)
                self._make_all()
            for name in NAMES:
                self._renew(name)
        except (FileExistsError, FileNotFoundError, NotADirectoryError):
            raise AssignmentError("are removed or replaced by another program of this run") from None
        data, at = memoryview(script.encode()), 0
        while at < len(data):
            at += os.pwrite(self._open[SCRIPT], data[at:], at)

    def _renew(self, name: str) -> None:
        if _is_same(self._open[name], name, self._place):
            os.ftruncate(self._open[name], 0)
            return
        os.close(self._open.pop(name))
        _move_away(name, self._place)
        self._make(name)

    def read(self, name: str) -> bytes:
        """What the step has written to a file: at most one byte more than it may. Raises AssignmentError, OSError."""
        if not _is_same(self._open[name], name, self._place):
            raise AssignmentError("was removed or replaced: append to it with >>")
        return os.pread(self._open[name], MAX_STEP_FILE + 1, 0)

    def remove(self) -> None:
        """Removes and closes everything. What cannot be removed stays in the folder of the run. May be called again."""
        for name, number in self._open.items():
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._place)
            os.close(number)
        self._open.clear()
        if self._place >= 0:
            os.close(self._place)
            self._place = -1
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def _move_away(path: str | Path, place: int | None = None) -> None:
    """Renames what a step has put there, whatever it is: nothing in it is opened. It is removed with the run's
    folder."""
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, f"{path}.replaced-{secrets.token_hex(4)}", src_dir_fd=place, dst_dir_fd=place)


def _is_same(number: int, path: str | Path, place: int | None = None) -> bool:
    """Whether what is open is still what has that name."""
    mine = os.fstat(number)
    try:
        there = os.stat(path, dir_fd=place, follow_symlinks=False)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


async def make_in_thread(make: Callable[[], StepFiles]) -> StepFiles:
    """What `make` returns, which blocks. Raises the errors of `make`, TaskFailedInternally for those of the disk."""
    try:
        return await run_blocking(
            make,
            limit=FILES_TIME,
            doing="making the files of the steps",
            discard=StepFiles.remove,
            error=TaskFailedInternally,
        )
    except OSError as error:
        raise local_failure(f"the files of the steps could not be made: {error.strerror}", error) from None
