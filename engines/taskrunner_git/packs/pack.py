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

COMMIT, TREE, BLOB, TAG, OFS_DELTA, REF_DELTA = 1, 2, 3, 4, 6, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
HEADER, TRAILER, ID = 12, 20, 20
"""Bytes of a pack's header and its trailing SHA-1, and of an object's id."""
_MAX_HEAD = 10 + 20
"""Bytes of an object's head: type and size, and the longest name of a base."""
_START = 1 << 10
"""Bytes of compressed data that hold the first bytes of an object, with the tables of the compression."""
_USUAL = 1 << 12
"""Bytes that hold the head and the compressed data of most objects."""
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


def made_head(kind: int, size: int) -> bytes:
    """The head of an object, or of a delta before the name of its base."""
    data = bytearray([kind << 4 | size & 15])
    size >>= 4
    while size:
        data[-1] |= 0x80
        data.append(size & 0x7F)
        size >>= 7
    return bytes(data)


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

    @property
    def descriptor(self) -> int:
        """The open file."""
        return self._fd

    def head(self, offset: int) -> Head:
        return parse_head(os.pread(self._fd, _MAX_HEAD, offset), offset)

    def read(self, offset: int, most: int) -> tuple[Head, bytes | None]:
        """The head of an object and its data, or its delta; None for one of more than `most` bytes. Raises Broken."""
        start = os.pread(self._fd, _USUAL, offset)
        head = parse_head(start, offset)
        if head.size > most:
            return head, None
        if head.size < _USUAL and (data := _inflate_whole(start[head.length :], head.size)) is not None:
            return head, data
        return head, b"".join(self._inflated(offset + head.length, head.size))

    def start(self, offset: int, head: Head, count: int) -> bytes:
        """The first bytes of an object, or of its delta: `count` of them, or all. Raises Broken."""
        data = os.pread(self._fd, _START, offset + head.length)
        try:
            return zlib.decompressobj().decompress(data, count)
        except zlib.error:
            raise Broken("an object cannot be inflated") from None

    def raw(self, offset: int, end: int) -> Iterator[bytes]:
        """The bytes of the file between two offsets, in pieces."""
        while offset < end:
            data = os.pread(self._fd, min(_READ, end - offset), offset)
            if not data:
                raise Broken("the pack ends within an object")
            offset += len(data)
            yield data

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


def _inflate_whole(data: bytes, size: int) -> bytes | None:
    """A small object, if all of it is in these bytes."""
    inflate = zlib.decompressobj()
    try:
        found = inflate.decompress(data, size + 1)
    except zlib.error:
        return None
    return found if inflate.eof and len(found) == size else None


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
