"""Files are written below one folder; no link in it is followed, and nothing in it is replaced."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

import attrs

from taskrunner_git.failures import clone_failed, quoted

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_READ = 1 << 20
"""Bytes at a time."""

Owner = tuple[int, int]
"""User and group."""


@attrs.frozen
class _OpenFolder:
    name: bytes
    descriptor: int
    time: int | None
    """Set when the folder is closed: each file that is made in it changes its time."""


class FolderWriter:
    """Paths are relative, with `/`; a folder is made before what is in it. Used from one thread.

    Every method may raise OSError, and TaskFailed for a name that is there already or that the disk cannot have.
    """

    def __init__(self, folder: Path, owner: Owner | None = None) -> None:
        """`owner` gets all that is written; None for the user of this process."""
        self._owner = owner
        self._open = [_OpenFolder(b"", os.open(folder, _FOLDER & ~os.O_NOFOLLOW), None)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_to(0)

    def folder(self, path: str, time: int | None = None) -> None:
        """Makes a folder. `time`: nanoseconds since 1970."""
        parent, name = self._parent(path)
        with _Named(path):
            os.mkdir(name, 0o755, dir_fd=parent)
            self._enter(name, time)
        os.fchmod(self._open[-1].descriptor, 0o755)
        if self._owner:
            os.fchown(self._open[-1].descriptor, *self._owner)

    def file(self, path: str, pieces: Iterable[bytes], mode: int = 0o644, time: int | None = None) -> os.stat_result:
        """Makes a file, and returns its state."""
        parent, name = self._parent(path)
        with _Named(path):
            descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123  a descriptor has no path
            for piece in pieces:
                _write(file.fileno(), piece)
            os.fchmod(descriptor, mode)
            if self._owner:
                os.fchown(descriptor, *self._owner)
            if time is not None:
                os.utime(descriptor, ns=(time, time))
            return os.fstat(descriptor)

    def link(self, path: str, target: str, time: int) -> os.stat_result:
        """Makes a symbolic link, wherever it leads to, and returns its state."""
        parent, name = self._parent(path)
        with _Named(path):
            os.symlink(_encoded(target), name, dir_fd=parent)
        if self._owner:
            os.chown(name, *self._owner, dir_fd=parent, follow_symlinks=False)
        os.utime(name, ns=(time, time), dir_fd=parent, follow_symlinks=False)
        return os.stat(name, dir_fd=parent, follow_symlinks=False)

    def copy(self, path: str, source: int, mode: int) -> None:
        """Makes a file with the bytes of an open one. Where the file system can, both share their blocks until one of
        them is changed."""
        parent, name = self._parent(path)
        descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        with open(descriptor, "wb", buffering=0):  # noqa: PTH123  a descriptor has no path
            _copy(source, descriptor, os.fstat(source).st_size)
            os.fchmod(descriptor, mode)
            if self._owner:
                os.fchown(descriptor, *self._owner)

    def _parent(self, path: str) -> tuple[int, bytes]:
        """The descriptor of the folder that a path is in, and the path's last part."""
        *folders, name = _encoded(path).split(b"/")
        same = 0
        while same < min(len(folders), len(self._open) - 1) and self._open[same + 1].name == folders[same]:
            same += 1
        self._close_to(same + 1)
        for part in folders[same:]:
            self._enter(part, None)
        return self._open[-1].descriptor, name

    def _enter(self, name: bytes, time: int | None) -> None:
        """Without a `time`, the folder keeps the one that it has."""
        descriptor = os.open(name, _FOLDER, dir_fd=self._open[-1].descriptor)
        self._open.append(_OpenFolder(name, descriptor, time or os.fstat(descriptor).st_mtime_ns))

    def _close_to(self, count: int) -> None:
        while len(self._open) > count:
            folder = self._open.pop()
            try:
                if folder.time is not None:
                    os.utime(folder.descriptor, ns=(folder.time, folder.time))
            finally:
                os.close(folder.descriptor)


@attrs.frozen
class _Named:
    """The errors that the author of a commit can cause by a name."""

    path: str

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        number = error.errno if isinstance(error, OSError) else None
        if number in {errno.EEXIST, errno.ENOTDIR, errno.ELOOP}:
            raise clone_failed(f"two files or folders of the commit have the name {quoted(self.path)!r} here") from None
        if number in {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}:
            raise clone_failed(f"this machine's disk cannot have a file of the name {quoted(self.path)!r}") from None


def _encoded(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _copy(source: int, target: int, size: int) -> None:
    done = 0
    while done < size and (copied := _copied_by_kernel(source, target, size - done, done)):
        done += copied
    while data := os.pread(source, _READ, done):
        _write(target, data)
        done += len(data)


def _copied_by_kernel(source: int, target: int, size: int, at: int) -> int:
    """How many bytes; 0 where the system cannot do it between these files."""
    if not hasattr(os, "copy_file_range"):
        return 0
    with suppress(OSError):
        return os.copy_file_range(source, target, size, at)
    return 0
