"""The build context as BuildKit wants it: a list of files in order, and their contents on demand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import attrs

MOST_SIZE = 1 << 20
"""Bytes of a `.dockerignore`, `.gitmodules` or `.gitattributes`. Real ones have a hundredth of that; a hostile one
could fill the memory."""


@attrs.frozen
class FileEntry:
    """One file, folder or symbolic link of a build context."""

    path: str
    """Relative, with `/`; bytes that are not UTF-8 are surrogate-escaped."""
    mode: int
    """As in `os.stat`: type and permissions."""
    size: int = 0
    """Bytes, of a regular file."""
    mtime_ns: int = 0
    """BuildKit compares size and this alone, so a source without times derives it from the contents."""
    link: str = ""
    """Where a symbolic link leads."""


class FileTree(Protocol):
    """Where the files come from. Used from one thread."""

    def entries(self) -> Iterator[FileEntry]:
        """Everything, a folder before what is in it, names compared component by component as bytes."""

    def read(self, path: str) -> Iterator[bytes]:
        """The contents of a regular file among `entries`, in pieces of any size."""


def read_small(source: FileTree, path: str) -> bytes:
    """Raises ValueError when it is larger than MOST_SIZE, and what `source.read` raises."""
    data = bytearray()
    for piece in source.read(path):
        data += piece
        if len(data) > MOST_SIZE:
            raise ValueError(f"{path} is larger than {MOST_SIZE >> 20} MiB")
    return bytes(data)
