"""A folder on disk as a build context."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from taskrunner_git.files import FileEntry

_READ = 1 << 18
"""Bytes at a time."""


class FolderSource:
    """Every regular file, folder and link below a folder: a ContextSource. Sockets, pipes and devices are left out.

    Links are never followed, so that nothing outside of it can be read. Every method may raise OSError.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def entries(self) -> Iterator[FileEntry]:
        return self._below("")

    def read(self, path: str) -> Iterator[bytes]:
        fd = os.open(self._root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "rb", buffering=0) as file:
            while data := file.read(_READ):
                yield data

    def _below(self, folder: str) -> Iterator[FileEntry]:
        with os.scandir(self._root / folder) as found:
            items = sorted(found, key=lambda item: os.fsencode(item.name))
        for item in items:
            entry = _entry(f"{folder}{item.name}", item)
            if entry:
                yield entry
            if item.is_dir(follow_symlinks=False):
                yield from self._below(f"{folder}{item.name}/")


def _entry(path: str, item: os.DirEntry[str]) -> FileEntry | None:
    found = item.stat(follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        return FileEntry(path, found.st_mode, 0, found.st_mtime_ns, str(Path(item.path).readlink()))
    if stat.S_ISDIR(found.st_mode):
        return FileEntry(path, found.st_mode, 0, found.st_mtime_ns)
    if stat.S_ISREG(found.st_mode):
        return FileEntry(path, found.st_mode, found.st_size, found.st_mtime_ns)
    return None
