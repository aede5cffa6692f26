"""The checksum of a file, read once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import BinaryIO

from taskrunner.connections import Connections

_PIECE = 1 << 20
"""Bytes that are read at a time."""


def sha256_of(file: BinaryIO, connections: Connections, each: Callable[[bytes], object] = lambda _: None) -> str:
    """The SHA-256 of all that an open file has left, in hexadecimal. `each` gets every piece. Blocks.

    Raises: Interrupted, OSError.
    """
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        connections.check()
        digest.update(piece)
        each(piece)
    return digest.hexdigest()
