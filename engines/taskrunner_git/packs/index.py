"""Git's index of a pack, version 2: the offset of each object by its id.

Git's format has no sizes and types; `sizes` adds them, so that a folder is listed without reading its blobs.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import NamedTuple

from taskrunner_git.failures import Broken
from taskrunner_git.packs.pack import ID, TRAILER

_MAGIC = b"\377tOc\0\0\0\2"
_FANOUT = struct.Struct(">256L")
_NAMES = len(_MAGIC) + _FANOUT.size
"""Where the ids begin. Checksums, offsets of 4 bytes and offsets of 8 bytes follow them."""
_RECORD = struct.Struct(">20sLQQB")
_CRC, _OFFSET, _LOW_OFFSET, _SIZE = slice(20, 24), slice(24, 32), slice(28, 32), slice(32, 41)
_LARGE = 1 << 31
"""An offset from here on does not fit into 4 bytes: the flag, and a position among the offsets of 8 bytes."""
_NEAR = 256
"""Ids that are searched as one text: 5 kB, which takes less time than five steps of a bisection."""
SIZE_AND_TYPE = struct.Struct(">QB")


class Place(NamedTuple):
    """The offset of one object in its pack, and its size and type with all deltas applied."""

    offset: int
    size: int
    kind: int


def record(sha: bytes, crc: int, offset: int, size: int, kind: int) -> bytes:
    """One object of a pack while it is indexed. `crc` is the CRC-32 of its bytes in the pack."""
    return _RECORD.pack(sha, crc, offset, size, kind)


def parse_record(data: bytes) -> tuple[bytes, Place]:
    """The id, and where its object is."""
    sha, _, *place = _RECORD.unpack(data)
    return sha, Place(*place)


def build(records: list[bytes], pack_id: bytes) -> tuple[bytes, bytes]:
    """The contents of an index file, and the sizes and types in its order. `pack_id` is the SHA-1 that the pack ends
    with."""
    records = sorted(records)
    counts = Counter(data[0] for data in records)
    body = b"".join(
        [
            _MAGIC,
            _FANOUT.pack(*accumulate(counts[first] for first in range(256))),
            *(data[:ID] for data in records),
            *(data[_CRC] for data in records),
            *_offsets(records),
            pack_id,
        ]
    )
    return body + hashlib.sha1(body, usedforsecurity=False).digest(), b"".join(data[_SIZE] for data in records)


def _offsets(records: list[bytes]) -> Iterator[bytes]:
    large: list[bytes] = []
    for data in records:
        if int.from_bytes(data[_OFFSET]) < _LARGE:
            yield data[_LOW_OFFSET]
        else:
            yield (_LARGE | len(large)).to_bytes(4)
            large.append(data[_OFFSET])
    yield from large


class Index:
    """Finds the positions of objects by their id, and their offsets by their position."""

    def __init__(self, data: bytes) -> None:
        """Raises Broken when this is not a whole index."""
        whole = data.startswith(_MAGIC) and len(data) >= _NAMES + 2 * TRAILER
        if not whole or hashlib.sha1(memoryview(data)[:-TRAILER], usedforsecurity=False).digest() != data[-TRAILER:]:
            raise Broken("an index is damaged")
        self.data = data
        """The whole file."""
        self._starts = [0, *_FANOUT.unpack_from(data, len(_MAGIC))]
        self.count = self._starts[-1]
        self._offsets = _NAMES + self.count * (ID + 4)
        if any(a > b for a, b in pairwise(self._starts)) or len(data) < self._offsets + self.count * 4 + 2 * TRAILER:
            raise Broken("an index is damaged")
        self.pack_id, self.checksum = data[-2 * TRAILER : -TRAILER], data[-TRAILER:]

    def position(self, sha: bytes) -> int | None:
        """The position of an object among all ids in order."""
        low, high = self._starts[sha[0]], self._starts[sha[0] + 1]
        while high - low > _NEAR:
            middle = (low + high) // 2
            low, high = (middle, high) if self._id(middle) <= sha else (low, middle)
        start = self.data.find(sha, _NAMES + low * ID, _NAMES + high * ID)
        while start > 0 and (start - _NAMES) % ID:  # found across two ids
            start = self.data.find(sha, start + 1, _NAMES + high * ID)
        return (start - _NAMES) // ID if start > 0 else None

    def offset(self, position: int) -> int:
        at = self._offsets + position * 4
        offset = int.from_bytes(self.data[at : at + 4])
        if offset < _LARGE:
            return offset
        at = self._offsets + self.count * 4 + (offset - _LARGE) * 8
        return int.from_bytes(self.data[at : at + 8])

    def ids(self) -> Iterator[bytes]:
        """All ids in order."""
        return map(self._id, range(self.count))

    def _id(self, position: int) -> bytes:
        start = _NAMES + position * ID
        return self.data[start : start + ID]


class SizedIndex:
    """An index with the sizes and types of its objects."""

    def __init__(self, index: Index, sizes: bytes) -> None:
        self.index, self._sizes = index, sizes

    def find(self, sha: bytes) -> Place | None:
        position = self.index.position(sha)
        if position is None:
            return None
        size, kind = SIZE_AND_TYPE.unpack_from(self._sizes, position * SIZE_AND_TYPE.size)
        return Place(self.index.offset(position), size, kind)
