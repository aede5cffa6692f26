"""Where each object is in a pack: its id, offset, size and type, in the order of ids.

Git's own index has no sizes and types; with them a folder is listed without reading its blobs.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_left
from collections.abc import Iterable

import attrs

from taskrunner_git.failures import Broken
from taskrunner_git.packs.pack import ID

_MAGIC = b"taskrunner pack index 1\n"
_RECORD = struct.Struct(">20sQQB")
_CHECK = 20
"""Bytes of the pack's own SHA-1, and of the index's, which come last."""
_NEAR = 256
"""Records that are searched as one text: 9 kB, which takes less time than five steps of a bisection."""


@attrs.frozen
class Place:
    """The offset of one object in its pack, and its size and type with all deltas applied."""

    offset: int
    size: int
    kind: int


def record(sha: bytes, offset: int, size: int, kind: int) -> bytes:
    return _RECORD.pack(sha, offset, size, kind)


def parse_record(data: bytes) -> tuple[bytes, Place]:
    """The id, and where its object is."""
    sha, *place = _RECORD.unpack(data)
    return sha, Place(*place)


def build(records: Iterable[bytes], pack_id: bytes) -> bytes:
    """The contents of an index file; `pack_id` is the SHA-1 that the pack ends with."""
    body = _MAGIC + b"".join([*sorted(records), pack_id])
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


class Index:
    """Finds objects by their id."""

    def __init__(self, data: bytes) -> None:
        """Raises Broken when `build` has not made this."""
        body = memoryview(data)[:-_CHECK]
        whole = data.startswith(_MAGIC) and hashlib.sha1(body, usedforsecurity=False).digest() == data[-_CHECK:]
        self._count, rest = divmod(len(body) - len(_MAGIC) - _CHECK, _RECORD.size)
        if not whole or rest:
            raise Broken("the index is damaged")
        self._data = data
        self.pack_id = bytes(body[-_CHECK:])
        self._starts = [bisect_left(range(self._count), bytes([first]), key=self._id) for first in range(256)]
        self._starts.append(self._count)

    def find(self, sha: bytes) -> Place | None:
        low, high = self._starts[sha[0]], self._starts[sha[0] + 1]
        while high - low > _NEAR:
            middle = (low + high) // 2
            low, high = (middle, high) if self._id(middle) <= sha else (low, middle)
        start = self._data.find(sha, self._start(low), self._start(high))
        while start > 0 and (start - len(_MAGIC)) % _RECORD.size:  # found across two records
            start = self._data.find(sha, start + 1, self._start(high))
        return Place(*_RECORD.unpack_from(self._data, start)[1:]) if start > 0 else None

    def _id(self, at: int) -> bytes:
        start = self._start(at)
        return self._data[start : start + ID]

    def _start(self, at: int) -> int:
        return len(_MAGIC) + at * _RECORD.size
