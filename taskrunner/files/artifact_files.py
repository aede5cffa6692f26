"""Which files of a run's folder may leave it as artifacts."""

from __future__ import annotations

import errno
import os
import stat
from functools import cached_property
from pathlib import Path

import attrs

from taskrunner.files.untrusted import walk
from taskrunner.interfaces.log import Log

_NEVER_THERE = frozenset({errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR})
"""A loop of links, a name that is too long, a folder that is a file."""


@attrs.frozen
class ArtifactFile:
    """A regular file, by its path without links."""

    name: str
    parts: tuple[str, ...]
    size: int


class ArtifactFiles:
    """Finds files below one folder. Blocks; used after the end of the run, so that nothing changes meanwhile."""

    def __init__(self, folder: Path, log: Log) -> None:
        self._folder = folder
        self._log = log

    @cached_property
    def root(self) -> Path:
        return Path(os.path.realpath(self._folder))

    def file(self, path: str) -> ArtifactFile:
        """Raises FileNotFoundError, IsADirectoryError, PermissionError (it leads out of the folder)."""
        real = self._resolve(path)
        status = _status(real, path)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder", path)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, f"is a {kind_of(status.st_mode)}, not a file", path)
        return ArtifactFile(Path(path).name, real.relative_to(self.root).parts, status.st_size)

    def folder(self, path: str) -> list[ArtifactFile]:
        """Raises FileNotFoundError, NotADirectoryError, PermissionError (it leads out of the folder)."""
        top = self.top(path)
        found = [self._check(each.name, top) for each in walk(top) if not each.is_folder]
        return sorted((each for each in found if each), key=lambda each: each.name)

    def top(self, path: str) -> Path:
        """The real path of a folder. Same errors as `folder`."""
        top = self._resolve(path)
        if not stat.S_ISDIR(_status(top, path).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "is no folder", path)
        return top

    def _check(self, name: str, top: Path) -> ArtifactFile | None:
        try:
            name.encode()
            real = self._resolve(os.path.join(top, name))  # noqa: PTH118  a name may have any bytes
            status = real.stat(follow_symlinks=False)
        except UnicodeEncodeError:
            self._leave_out(name, "its name is not UTF-8")
        except OSError as error:
            self._leave_out(name, str(error.strerror))
        else:
            if stat.S_ISREG(status.st_mode):
                return ArtifactFile(name, real.relative_to(self.root).parts, status.st_size)
            self._leave_out(name, f"it is a {kind_of(status.st_mode)}")
        return None

    def _leave_out(self, name: str, why: str) -> None:
        self._log.say(f"left out {os.fsencode(name).decode(errors='replace')!r}: {why}")

    def _resolve(self, path: str) -> Path:
        """The real path, which may not exist; an absolute path must lie in the folder too."""
        try:
            real = Path(os.path.realpath(self.root / path))
        except ValueError:
            raise FileNotFoundError(errno.ENOENT, "holds a zero byte", path) from None
        if not real.is_relative_to(self.root):
            raise PermissionError(errno.EACCES, "it leads out of the run's folder", path)
        return real


def _status(real: Path, path: str) -> os.stat_result:
    """That of a path without links. One that no file can have is not there. Raises FileNotFoundError, OSError."""
    try:
        return real.stat(follow_symlinks=False)
    except OSError as error:
        if error.errno in _NEVER_THERE:
            raise FileNotFoundError(errno.ENOENT, error.strerror, path) from None
        raise


def kind_of(mode: int) -> str:
    """The kind of anything but a regular file."""
    kinds = {
        stat.S_IFDIR: "folder behind a link",
        stat.S_IFIFO: "named pipe",
        stat.S_IFSOCK: "socket",
        stat.S_IFLNK: "broken link",
    }
    return kinds.get(stat.S_IFMT(mode), "device")
