"""Reading a file of a context that is expected to be small."""

from __future__ import annotations

from taskrunner_git.files import ContextSource

MOST_SIZE = 1 << 20
"""Bytes of a `.dockerignore`, `.gitmodules` or `.gitattributes`. Real ones have a hundredth of that; a hostile one
could fill the memory."""


def read_small(source: ContextSource, path: str) -> bytes:
    """Raises ValueError when it is larger than MOST_SIZE, and what `source.read` raises."""
    data = bytearray()
    for piece in source.read(path):
        data += piece
        if len(data) > MOST_SIZE:
            raise ValueError(f"{path} is larger than {MOST_SIZE >> 20} MiB")
    return bytes(data)
