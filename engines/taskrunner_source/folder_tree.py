"""A folder of this machine as a tree of files."""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs

from taskrunner.errors import TaskFailed
from taskrunner.files.archives.refusal import REASON, shown
from taskrunner_git import FileEntry

_PIECE = 1 << 18
"""Bytes that are read at a time."""
_LATEST_NS = (1 << 63) - 1
"""The last time that BuildKit can be sent, in the year 2262. Some disks can store later ones."""


@attrs.frozen
class FolderTree:
    """A FileTree. Nothing writes to the folder, and no link in it leads out."""

    root: Path

    def entries(self) -> Iterator[FileEntry]:
        """Raises OSError."""
        return self._inside(self.root, "")

    def read(self, path: str) -> Iterator[bytes]:
        with (self.root / path).open("rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                yield piece

    def below(self, path: str) -> FolderTree:
        """The folder at a path, over links. Raises TaskFailed."""
        top = os.path.realpath(self.root)
        place = os.path.realpath(self.root / path.strip("/"))
        if os.path.commonpath([top, place]) != top:
            raise TaskFailed(REASON, f"source: the context {shown(path)} leads out of the archive")
        if not Path(place).is_dir():
            raise TaskFailed(REASON, f"source: the archive has no folder {shown(path)}{self._similar(path)}")
        return FolderTree(Path(place))

    def _inside(self, folder: Path, above: str) -> Iterator[FileEntry]:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
        for entry in entries:
            path = f"{above}{entry.name}"
            status = entry.stat(follow_symlinks=False)
            time = min(max(status.st_mtime_ns, 0), _LATEST_NS)
            if entry.is_symlink():
                target = os.readlink(entry.path)  # noqa: PTH115  a Path would change the text
                yield FileEntry(path, stat.S_IFLNK | 0o777, 0, time, target)
            elif entry.is_dir(follow_symlinks=False):
                yield FileEntry(path, status.st_mode, 0, time)
                yield from self._inside(Path(entry.path), f"{path}/")
            else:
                yield FileEntry(path, status.st_mode, status.st_size, time)

    def _similar(self, path: str) -> str:
        """The names at the top that may be meant."""
        names = sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir())
        near = difflib.get_close_matches(path, names, 3) or names[:5]
        return f"; there {'is' if len(near) == 1 else 'are'} {', '.join(map(shown, near))}" if near else ""
