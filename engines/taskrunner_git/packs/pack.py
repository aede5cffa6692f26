"""One pack file: its objects by their offset.

It is read with `pread`, never mapped: the pages of a mapped file count as memory of this process.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import attrs

from taskrunner_git.failures import Broken
from taskrunner_git.packs.delta import MAX_IN_MEMORY

COMMIT, TREE, BLOB, TAG, OFS_DELTA, REF_DELTA = 1, 2, 3, 4, 6, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
HEADER, TRAILER, ID = 12, 20, 20
"""Bytes of a pack's header and its trailing SHA-1, and of an object's id."""
_MAX_HEAD = 10 + 20
"""Bytes of an object's head: type and size, and the longest name of a base."""
_READ = 1 << 18
"""Bytes at a time of a large object."""


@attrs.frozen
class Head:
    """The header of an object, before its compressed data."""

    kind: int
    size: int
    """Bytes of the object, or of its delta, when inflated."""
    base: int | bytes
    """Of a delta: the base's offset, or its id. Otherwise 0."""
    length: int
    """Bytes of the head itself."""


def parse_head(data: bytes | memoryview, offset: int) -> Head:
    """Reads the head of the object at `offset` in its pack from the bytes found there. Raises Broken."""
    try:
        kind, size, at = _kind_and_size(data)
        if kind == OFS_DELTA:
            back, at = _distance(data, at)
            return Head(kind, size, offset - back, at)
    except IndexError:
        raise Broken("the pack ends within an object") from None
    if kind == REF_DELTA:
        return Head(kind, size, bytes(data[at : at + ID]), at + ID)
    if kind not in NAMES:
        raise Broken("the pack has an object of an unknown type")
    return Head(kind, size, 0, at)


def _kind_and_size(data: bytes | memoryview) -> tuple[int, int, int]:
    size, shift, at = data[0] & 15, 4, 1
    while data[at - 1] & 0x80:
        size |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
    return data[0] >> 4 & 7, size, at


def _distance(data: bytes | memoryview, at: int) -> tuple[int, int]:
    value = data[at] & 0x7F
    while data[at] & 0x80:
        at += 1
        value = (value + 1) << 7 | data[at] & 0x7F
    return value, at + 1


class Pack:
    """An open pack file. `close` it."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """A second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def head(self, offset: int) -> Head:
        return parse_head(os.pread(self._fd, _MAX_HEAD, offset), offset)

    def read(self, offset: int) -> tuple[Head, bytes]:
        """The head of an object and its data, or its delta. Raises Broken."""
        head = self.head(offset)
        if head.size > MAX_IN_MEMORY:
            raise Broken("an object is too large to be held in memory")
        return head, b"".join(self._inflated(offset + head.length, head.size))

    def stream(self, offset: int, head: Head) -> Iterator[bytes]:
        """The data of an object that is no delta, in pieces. Raises Broken."""
        return self._inflated(offset + head.length, head.size)

    def _inflated(self, at: int, size: int) -> Iterator[bytes]:
        inflate = zlib.decompressobj()
        left = size
        # enough for a small object in one read: incompressible data grows by 5 bytes in 16 KiB
        step = min(size + (size >> 8) + 64, _READ)
        while not inflate.eof:
            data = os.pread(self._fd, step, at)
            at += len(data)
            for piece in _pieces(inflate, data):
                left -= len(piece)
                if left < 0:
                    raise Broken("an object is larger than it claims")
                yield piece
        if left:
            raise Broken("an object is smaller than it claims")


def _pieces(inflate: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """Inflates without ever holding more than a piece: a megabyte of zeros takes a kilobyte."""
    if not data:
        raise Broken("the pack ends within an object")
    try:
        while data and not inflate.eof:
            if piece := inflate.decompress(data, _READ):
                yield piece
            data = inflate.unconsumed_tail
    except zlib.error:
        raise Broken("an object cannot be inflated") from None
