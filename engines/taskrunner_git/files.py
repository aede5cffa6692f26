"""A tree of files: their list in order, and their contents on demand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import attrs

MAX_SMALL_FILE = 1 << 20
"""Bytes of a `.gitmodules` or `.gitattributes`. Real ones have a hundredth of that; a hostile one
could fill the memory."""


@attrs.frozen
class FileEntry:
    """One file, folder or symbolic link."""

    path: str
    """Relative, with `/`; bytes that are not UTF-8 are surrogate-escaped."""
    mode: int
    """As in `os.stat`: type and permissions."""
    size: int = 0
    """Bytes, of a regular file."""
    mtime_ns: int = 0
    """BuildKit compares size and this alone, so that a tree without times derives them from the contents."""
    link: str = ""
    """The target of a symbolic link."""


class FileTree(Protocol):
    """Files that are read in order, for instance those of a commit. Used from one thread."""

    def entries(self) -> Iterator[FileEntry]:
        """All entries, a folder before its content; paths are compared component by component, as bytes."""

    def read(self, path: str) -> Iterator[bytes]:
        """The contents of a regular file among `entries`, in pieces of any size."""


def read_small(tree: FileTree, path: str) -> bytes:
    """Raises ValueError when it is larger than MAX_SMALL_FILE, and what `tree.read` raises."""
    data = bytearray()
    for piece in tree.read(path):
        data += piece
        if len(data) > MAX_SMALL_FILE:
            raise ValueError(f"{path} is larger than {MAX_SMALL_FILE >> 20} MiB")
    return bytes(data)
