"""From a pack to its index: every object is inflated once, and its id computed."""

from __future__ import annotations

import hashlib
import struct
import zlib
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import BinaryIO

from taskrunner_git.failures import Broken
from taskrunner_git.packs.delta import MAX_IN_MEMORY
from taskrunner_git.packs.index import Place, parse_record, record
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack import BLOB, HEADER, NAMES, OFS_DELTA, REF_DELTA, TRAILER, Head, Pack, parse_head

_READ = 1 << 20
"""Bytes at a time from the file."""
_HEAD_SIZE = 64
"""Bytes: no head of an object is longer."""


def index_pack(pack: Pack, objects: Objects, check: Callable[[], None]) -> list[bytes]:
    """The index records of a pack. The bases of its deltas may be among `objects` too. `check` is called between
    reads, and may raise an error to end it. Raises Broken, OSError.
    """
    with pack.path.open("rb") as file:
        scan = _Scan(file, check)
        scan.run()
    growing = _GrowingIndex(scan.records)
    with objects.including(pack, growing):
        _resolve(pack, objects, scan, check)
    return scan.records


def object_id(kind: int, data: bytes) -> bytes:
    return _hash(kind, len(data), data).digest()


def _hash(kind: int, size: int, data: bytes = b"") -> hashlib._Hash:
    return hashlib.sha1(b"%s %d\0%s" % (NAMES[kind], size, data), usedforsecurity=False)


class _Scan:
    """One pass over the file: whole objects are indexed, deltas are listed by their base."""

    def __init__(self, file: BinaryIO, check: Callable[[], None]) -> None:
        self.records: list[bytes] = []
        self.waiting: dict[int | bytes, list[int]] = defaultdict(list)
        self._offsets, self._kinds = array("Q"), bytearray()
        self._file, self._check = file, check
        self._buffer = memoryview(b"")
        self._offset = self._at = 0

    def run(self) -> None:
        magic, version, count = struct.unpack(">4sII", bytes(self._peek(HEADER)[:HEADER]).ljust(HEADER, b"\0"))
        if magic != b"PACK" or version not in {2, 3}:
            raise Broken("this is no pack")
        self._at = HEADER
        for _ in range(count):
            self._object()
        if len(self._peek(TRAILER + 1)) != TRAILER:
            raise Broken("the pack is longer than it claims")

    def kind_at(self, offset: int) -> int | None:
        """The type of the whole object at an offset."""
        at = bisect_left(self._offsets, offset)
        return self._kinds[at] if at < len(self._offsets) and self._offsets[at] == offset else None

    def _object(self) -> None:
        offset = self._offset + self._at
        head = parse_head(self._peek(_HEAD_SIZE), offset)
        self._at += head.length
        if head.kind in {OFS_DELTA, REF_DELTA}:
            self.waiting[head.base].append(offset)
            for _ in self._inflated(head.size):
                pass
        else:
            self.records.append(record(self._id(head), offset, head.size, head.kind))
            self._offsets.append(offset)
            self._kinds.append(head.kind)

    def _id(self, head: Head) -> bytes:
        if head.kind != BLOB and head.size > MAX_IN_MEMORY:
            raise Broken("a folder, commit or tag is absurdly large")
        digest = _hash(head.kind, head.size)
        for data in self._inflated(head.size):
            digest.update(data)
        return digest.digest()

    def _inflated(self, size: int) -> Iterator[bytes]:
        inflate, left = zlib.decompressobj(), size
        step = size + (size >> 8) + 64
        while not inflate.eof:
            data = self._peek(min(step, _READ))[:step]
            piece = _inflate(inflate, data)
            self._at += len(data) - len(inflate.unused_data or inflate.unconsumed_tail)
            left -= len(piece)
            if left < 0 or not data:
                raise Broken("the pack ends within an object, or an object is larger than it claims")
            yield piece
        if left:
            raise Broken("an object is smaller than it claims")

    def _peek(self, count: int) -> memoryview:
        """The next bytes without consuming them: at least `count`, or all that are left."""
        if len(self._buffer) - self._at < count:
            self._check()
            rest = bytes(self._buffer[self._at :])
            self._offset += self._at
            self._at = 0
            self._buffer = memoryview(rest + self._file.read(_READ))
        return self._buffer[self._at :]


def _inflate(inflate: zlib._Decompress, data: memoryview) -> bytes:
    try:
        return inflate.decompress(data, _READ)
    except zlib.error:
        raise Broken("an object cannot be inflated") from None


class _GrowingIndex:
    """Finds the objects of a pack while it is being indexed. It is filled at the first search: most packs name the
    bases of their deltas by offset."""

    def __init__(self, records: list[bytes]) -> None:
        self._records = records
        self._places: dict[bytes, Place] = {}
        self._known = 0

    def find(self, sha: bytes) -> Place | None:
        self._places.update(map(parse_record, self._records[self._known :]))
        self._known = len(self._records)
        return self._places.get(sha)


def _resolve(pack: Pack, objects: Objects, scan: _Scan, check: Callable[[], None]) -> None:
    """Indexes the deltas, each after its base. Depth goes first, so that the base is still cached."""
    todo: list[tuple[int, int]] = []
    for base in list(scan.waiting):
        kind = scan.kind_at(base) if isinstance(base, int) else _kind(objects, base)
        if kind is not None:
            todo += [(offset, kind) for offset in scan.waiting.pop(base)]
    while todo:
        check()
        offset, kind = todo.pop()
        data = objects.read_at(pack, offset)
        sha = object_id(kind, data)
        scan.records.append(record(sha, offset, len(data), kind))
        todo += [(child, kind) for base in (offset, sha) for child in scan.waiting.pop(base, ())]
    if scan.waiting:
        raise Broken("the pack lacks the base of a delta")


def _kind(objects: Objects, sha: bytes) -> int | None:
    place = objects.find(sha)
    return place.kind if place else None
