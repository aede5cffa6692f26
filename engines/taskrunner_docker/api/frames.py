"""The output of a process, as Docker sends it: frames of standard output and of errors on one connection."""

from __future__ import annotations

import itertools
import operator
import struct
from collections.abc import Iterable, Iterator

STDERR = 2
"""The number of that stream in a frame."""


class Demultiplexer:
    """Splits the output of a process without a terminal: frames of a stream's number (1 is stdout, 2 is stderr), three
    zero bytes, a length, and as many bytes. Nothing is held back but a header that is cut in two."""

    _header = struct.Struct(">BxxxI")

    def __init__(self) -> None:
        self._partial = b""
        self._number = 1
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The bytes that came, as pieces with the number of their stream."""
        pieces: list[tuple[int, bytes]] = []
        view, at = self._partial + data if self._partial else data, 0
        while True:
            if self._left and at < len(view):
                piece = view[at : at + self._left]
                at, self._left = at + len(piece), self._left - len(piece)
                pieces.append((self._number, piece))
            elif not self._left and len(view) - at >= self._header.size:
                self._number, self._left = self._header.unpack_from(view, at)
                at += self._header.size
            else:
                self._partial = view[at:]
                return pieces


def joined(pieces: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """The same, with neighbours of one stream in one piece: a frame is often a single line."""
    for number, group in itertools.groupby(pieces, key=operator.itemgetter(0)):
        yield number, b"".join(piece for _, piece in group)
