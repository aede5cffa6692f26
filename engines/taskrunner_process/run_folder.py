"""What the worker makes in the folder of a run before its command starts, and who owns it.

Until `give`, the folder is the worker's, and nobody else can enter it: no process of the account can change what the
worker is at. What is in it may be hostile all the same, since a source has its own links. So each step is done in an
open folder, and follows no link.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from taskrunner.errors import TaskFailed
from taskrunner.interfaces.platform import RunContext
from taskrunner_process.accounts.account import Account
from taskrunner_process.command import TEMPORARY
from taskrunner_process.sealed_copy import copy_sealed
from taskrunner_source import checkout

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
CLOSED, OPEN = 0o700, 0o755

OWN_TIME, OWN_GRACE = 600.0, 60.0
"""Seconds to change the owner of everything in a folder, a million files at most, and for a cancelled change to end."""


@attrs.frozen
class PreparedFolder:
    """The folder of a run that has not started. Its methods raise OSError."""

    path: Path
    account: Account | None

    @property
    def owner(self) -> Account | None:
        """Who gets what is made here, as soon as it is made."""
        return None if self.account and self.account.sudo else self.account

    def make_folder(self, *parts: str) -> None:
        """Makes a folder and those above it. What is there already stays as it is.

        Raises: OSError with ELOOP for a link on the way, ENOTDIR for a file.
        """
        with self._opened(parts):
            pass

    def make_link(self, parts: Sequence[str], target: Path) -> None:
        """Raises: FileExistsError, and as `make_folder`."""
        with self._opened(parts[:-1]) as place:
            os.symlink(target, parts[-1], target_is_directory=True, dir_fd=place)
            if self.owner:
                os.chown(parts[-1], self.owner.uid, self.owner.gid, dir_fd=place, follow_symlinks=False)

    def make_copy(self, parts: Sequence[str], content: Path, check: Callable[[], None]) -> None:
        """A copy of a file, or of a folder with all that is in it, without a right to write. Its owner is the worker.
        `check` is called before each file, and may raise.

        Raises: FileExistsError, and as `make_folder`.
        """
        with self._opened(parts[:-1]) as place:
            if parts[-1] in os.listdir(place):  # noqa: PTH208  it has no path, only a descriptor
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        copy_sealed(content, self.path.joinpath(*parts), check)

    def give(self) -> None:
        """The account owns the folder and may reach it. From now on the worker does nothing in it by path."""
        if self.account:
            with _open(self.path) as folder:
                os.fchmod(folder, CLOSED)
                self.account.take(folder)
            self.account.open_path(self.path, alone=True)

    @contextmanager
    def _opened(self, parts: Sequence[str]) -> Iterator[int]:
        place = os.open(self.path, FOLDER)
        try:
            for part in parts:
                inner = self._enter(part, place)
                os.close(place)
                place = inner
            yield place
        finally:
            os.close(place)

    def _enter(self, part: str, place: int) -> int:
        try:
            os.mkdir(part, OPEN, dir_fd=place)
            os.chmod(part, OPEN, dir_fd=place)  # a umask may have taken some of it
        except FileExistsError:
            return _open_folder(part, place)
        inner = _open_folder(part, place)
        if self.owner:
            self.owner.take(inner)
        return inner


def take_cache(folder: Path, account: Account, former: frozenset[int]) -> None:
    """Makes an account the owner of a cache, with all that is in it. `former` are the users that may have had it.
    Nobody has it now. Raises OSError."""
    give_back(folder)
    with _open(folder) as top:
        with os.scandir(top) as entries:
            others = any(entry.stat(follow_symlinks=False).st_uid != account.uid for entry in entries)
        if others:
            _take_all(top, account, former)
        account.take(top)
    account.open_path(folder)


def give_back(folder: Path) -> None:
    """Closes a cache to the account that had it: it may run other tasks. Raises OSError."""
    with _open(folder) as top:
        os.fchown(top, os.geteuid(), os.getegid())
        os.fchmod(top, CLOSED)


def _take_all(top: int, account: Account, former: frozenset[int]) -> None:
    """A file with several names is left to an owner that had no cache: one of the names may lie elsewhere."""
    pending = ["."]
    while pending:
        path = pending.pop()
        place = os.open(path, FOLDER, dir_fd=top)
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1 or status.st_uid in former:
                        os.chown(entry.name, account.uid, account.gid, dir_fd=place, follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(f"{path}/{entry.name}")
        finally:
            os.close(place)


@contextmanager
def _open(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_folder(part: str, place: int) -> int:
    try:
        return os.open(part, FOLDER, dir_fd=place)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(part, dir_fd=place, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        raise


async def check_out(context: RunContext, account: Account | None) -> None:
    """Writes the files of the task's source, for the account that the run has. Git does not report what the worker puts
    beside them.

    Raises: MalformedPayload, TaskFailed, TaskFailedInternally, Unavailable.
    """
    owner = (account.uid, account.gid) if account and not account.sudo else None
    caches = (cache.path for cache in context.task.caches)
    mounts = (mount.target for mount in context.task.mounts)
    await checkout(context, context.folder, owner=owner, ignored=(TEMPORARY, *caches, *mounts))
    temporary = context.folder / TEMPORARY
    if temporary.is_symlink() or (temporary.exists() and not temporary.is_dir()):
        what = f"it has a file {TEMPORARY}, which is the run's folder for temporary files"
        raise TaskFailed("source-refused", f"source: {what}")
