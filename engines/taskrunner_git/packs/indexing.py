"""From a pack to its index: every object is inflated once, and its id computed."""

from __future__ import annotations

import hashlib
import struct
import zlib
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from taskrunner_git.failures import Broken
from taskrunner_git.packs.delta import MAX_IN_MEMORY
from taskrunner_git.packs.index import Place, parse_record, record
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack import BLOB, HEADER, ID, NAMES, OFS_DELTA, REF_DELTA, TRAILER, Head, Pack, parse_head

_READ = 1 << 20
"""Bytes at a time from the file."""
_SMALL = 1 << 14
"""Bytes of an object that is inflated in one go: most are smaller."""
_HEAD_SIZE = 64
"""Bytes: no head of an object is longer."""


def index_pack(pack: Pack, objects: Objects, check: Callable[[], None]) -> tuple[list[bytes], set[bytes]]:
    """The index records of a pack, and the ids of the bases that it lacks: they are among `objects`. `check` is called
    between reads, and may raise an error to end it. Raises Broken, OSError.
    """
    with pack.path.open("rb") as file:
        scan = _Scan(file, check)
        scan.run()
    growing = _GrowingIndex(scan.records)
    with objects.including(pack, growing):
        bases = _resolve(pack, objects, scan, check)
    return scan.records, bases and bases.difference(data[:ID] for data in scan.records)


def object_id(kind: int, data: bytes) -> bytes:
    return _hash(kind, len(data), data).digest()


def _hash(kind: int, size: int, data: bytes = b"") -> hashlib._Hash:
    return hashlib.sha1(b"%s %d\0%s" % (NAMES[kind], size, data), usedforsecurity=False)


class _Scan:
    """One pass over the file: whole objects are indexed, deltas are listed by their base."""

    def __init__(self, file: BinaryIO, check: Callable[[], None]) -> None:
        self.records: list[bytes] = []
        self.waiting: dict[int | bytes, list[tuple[int, int]]] = defaultdict(list)
        """By the base of deltas: their offsets and CRC-32."""
        self._offsets = array("Q")
        self._file, self._check = file, check
        self._buffer = memoryview(b"")
        self._offset = self._at = self._crc = 0

    def run(self) -> None:
        magic, version, count = struct.unpack(">4sII", bytes(self._peek(HEADER)[:HEADER]).ljust(HEADER, b"\0"))
        if magic != b"PACK" or version not in {2, 3}:
            raise Broken("this is no pack")
        self._at = HEADER
        for _ in range(count):
            self._object()
        if len(self._peek(TRAILER + 1)) != TRAILER:
            raise Broken("the pack is longer than it claims")

    def has(self, offset: int) -> bool:
        """Whether a whole object begins at an offset."""
        at = bisect_left(self._offsets, offset)
        return at < len(self._offsets) and self._offsets[at] == offset

    def _object(self) -> None:
        offset = self._offset + self._at
        start = self._peek(_HEAD_SIZE)
        head = parse_head(start, offset)
        self._at += head.length
        self._crc = zlib.crc32(start[: head.length])
        if head.kind in {OFS_DELTA, REF_DELTA}:
            for _ in self._inflated(head.size):
                pass
            self.waiting[head.base].append((offset, self._crc))
        else:
            sha = self._id(head)
            self.records.append(record(sha, self._crc, offset, head.size, head.kind))
            self._offsets.append(offset)

    def _id(self, head: Head) -> bytes:
        if head.kind != BLOB and head.size > MAX_IN_MEMORY:
            raise Broken("a folder, commit or tag is absurdly large")
        digest = _hash(head.kind, head.size)
        for data in self._inflated(head.size):
            digest.update(data)
        return digest.digest()

    def _inflated(self, size: int) -> Iterable[bytes]:
        whole = self._whole(size) if size < _SMALL else None
        return self._streamed(size) if whole is None else (whole,)

    def _whole(self, size: int) -> bytes | None:
        """A small object in one go. None, with nothing consumed, when it is unusual or damaged."""
        inflate, data = zlib.decompressobj(), self._peek(size + 64)[: size + 64]
        try:
            piece = inflate.decompress(data, size + 1)
        except zlib.error:
            return None
        if not inflate.eof or len(piece) != size:
            return None
        used = len(data) - len(inflate.unused_data)
        self._crc = zlib.crc32(data[:used], self._crc)
        self._at += used
        return piece

    def _streamed(self, size: int) -> Iterator[bytes]:
        inflate, left = zlib.decompressobj(), size
        step = size + (size >> 8) + 64
        while not inflate.eof:
            data = self._peek(min(step, _READ))[:step]
            piece = _inflate(inflate, data)
            used = len(data) - len(inflate.unused_data or inflate.unconsumed_tail)
            self._crc = zlib.crc32(data[:used], self._crc)
            self._at += used
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


def _resolve(pack: Pack, objects: Objects, scan: _Scan, check: Callable[[], None]) -> set[bytes]:
    """Indexes the deltas, each after its base. Depth goes first, so that the base is still cached. Returns the bases
    by id that are no whole objects of this pack."""
    todo: list[tuple[int, int]] = []
    others: set[bytes] = set()
    for base in list(scan.waiting):
        if isinstance(base, int):
            found = scan.has(base)
        else:
            place = objects.find_pack(base)
            found = place is not None
            if place and place[0] is not pack:
                others.add(base)
        if found:
            todo += scan.waiting.pop(base)
    while todo:
        check()
        offset, crc = todo.pop()
        kind, data = objects.read_at(pack, offset)
        sha = object_id(kind, data)
        scan.records.append(record(sha, crc, offset, len(data), kind))
        todo += [waiting for base in (offset, sha) for waiting in scan.waiting.pop(base, ())]
    if scan.waiting:
        raise Broken("the pack lacks the base of a delta")
    return others
