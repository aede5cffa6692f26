"""From a pack to its index: every object is inflated once, and its id computed.

Objects are indexed while the pack arrives, when the processor has nothing else to do. Deltas whose base is large, far
away or still to come follow at the end, each after its base.

`git index-pack` is not used: on packs of 6,000 and 24,000 objects it took as long, with two threads. Its SHA-1 looks
for collisions in each object; that of OpenSSL uses the instructions that processors have for it.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from array import array
from bisect import bisect_left
from collections import OrderedDict, defaultdict
from collections.abc import Callable

from taskrunner_git.failures import Broken
from taskrunner_git.packs.delta import apply_delta, described_size
from taskrunner_git.packs.index import Place, parse_record, record
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack import BLOB, HEADER, ID, NAMES, OFS_DELTA, REF_DELTA, TRAILER, Head, Pack, parse_head

Spend = Callable[[int], None]
"""Called with the number of bytes that are inflated or made next, between any two steps; it may raise to end them."""

_SMALL = 1 << 16
"""Bytes of an object that is inflated in one go: most are smaller."""
_READ = 1 << 20
"""Bytes at a time of a larger one."""
_KEPT = 8 << 20
"""Bytes of objects that are kept for the next deltas: git writes these behind their base."""
_KEPT_OBJECT = 1 << 18
"""Bytes of the largest one among them."""
_HEAD_SIZE = 64
"""Bytes: no head of an object is longer."""
_SLACK = 64
"""Bytes that a small object can have more when it is compressed."""


def object_id(kind: int, data: bytes) -> bytes:
    return _hash(kind, len(data), data).digest()


def _hash(kind: int, size: int, data: bytes = b"") -> hashlib._Hash:
    return hashlib.sha1(b"%s %d\0%s" % (NAMES[kind], size, data), usedforsecurity=False)


class PackScan:
    """One pass over a pack as it arrives: whole objects are indexed, and deltas whose base was seen a short time ago;
    others are listed by their base. `feed` and `finish` raise Broken, and the errors of `spend`."""

    def __init__(self, objects: Objects, spend: Spend) -> None:
        """`objects` say how large one may be that must be whole in memory."""
        self.records: list[bytes] = []
        self.waiting: dict[int | bytes, list[tuple[int, int]]] = defaultdict(list)
        """By the base of deltas: their offsets and CRC-32."""
        self._offsets = array("Q")
        self._objects, self._spend = objects, spend
        self._buffer = memoryview(b"")
        self._start = self._at = 0
        """The offset of the buffer in the pack, and of the next byte in the buffer."""
        self._left: int | None = None
        """Objects that are still to come; None before the header."""
        self._large: _LargeObject | None = None
        self._final = False
        self._recent: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()
        """Type and data of objects by their id."""
        self._recent_size = 0

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the pack."""
        self._buffer = memoryview(bytes(self._buffer[self._at :]) + data)
        self._start += self._at
        self._at = 0
        while self._step():
            pass

    def finish(self) -> None:
        """Called after the last byte."""
        self._final = True
        self.feed(b"")
        self._recent.clear()
        if self._left != 0 or self._large:
            raise Broken("the pack ends within an object")
        if len(self._buffer) - self._at != TRAILER:
            raise Broken("the pack is longer than it claims")

    def has(self, offset: int) -> bool:
        """Whether an object that is indexed already begins at an offset."""
        at = bisect_left(self._offsets, offset)
        return at < len(self._offsets) and self._offsets[at] == offset

    def _step(self) -> bool:
        """Whether there was enough data for a step."""
        if self._large:
            return self._inside(self._large)
        if self._left is None:
            return self._header()
        return bool(self._left) and self._object()

    def _header(self) -> bool:
        if len(self._buffer) < HEADER:
            return False
        magic, version, self._left = struct.unpack_from(">4sII", self._buffer)
        if magic != b"PACK" or version not in {2, 3}:
            raise Broken("this is no pack")
        self._at = HEADER
        return True

    def _object(self) -> bool:
        rest = self._buffer[self._at :]
        if len(rest) < _HEAD_SIZE and not self._final:
            return False
        head = parse_head(rest[:_HEAD_SIZE], self._start + self._at)
        if head.length > len(rest):
            raise Broken("the pack ends within an object")
        self._objects.check_size(head)
        end = head.length + head.size + _SLACK
        if head.size < _SMALL and (len(rest) >= end or self._final):
            data = rest[head.length : end]
            inflate = zlib.decompressobj()
            found = _inflate(inflate, data, head.size + 1)
            if inflate.eof and len(found) == head.size:
                self._spend(head.size)
                length = head.length + len(data) - len(inflate.unused_data)
                self._add(head, self._start + self._at, zlib.crc32(rest[:length]), found)
                self._at += length
                return True
        elif head.size < _SMALL:
            return False
        self._large = _LargeObject(head, self._start + self._at, zlib.crc32(rest[: head.length]))
        self._at += head.length
        return True

    def _inside(self, large: _LargeObject) -> bool:
        if self._at >= len(self._buffer):  # a head may claim more bytes than the pack has left
            return False
        used, made = large.feed(self._buffer[self._at : self._at + _READ])
        self._spend(made)
        self._at += used
        if large.is_whole:
            self._large = None
            self._add(large.head, large.offset, large.crc, None, large.digest)
        return True

    def _add(self, head: Head, offset: int, crc: int, data: bytes | None, digest: hashlib._Hash | None = None) -> None:
        """Indexes an object, if that is possible now. `data` is that of a small one, and `digest` of another."""
        self._left = (self._left or 0) - 1
        kind, size = head.kind, head.size
        if kind in {OFS_DELTA, REF_DELTA}:
            made = None if data is None else self._applied(head, data)
            if made is None:
                self.waiting[head.base].append((offset, crc))
                return
            kind, data = made
            size = len(data)
        sha = digest.digest() if digest else object_id(kind, data or b"")
        self.records.append(record(sha, crc, offset, size, kind))
        self._offsets.append(offset)
        if data and size <= _KEPT_OBJECT:
            self._keep(sha, kind, data)
            if kind == BLOB and self._objects.inflated:
                self._objects.inflated.add(sha, data)

    def _applied(self, head: Head, delta: bytes) -> tuple[int, bytes] | None:
        """Type and data of the object that a delta makes, if its base is kept."""
        base = head.base if isinstance(head.base, bytes) else self._id_at(head.base)
        found = self._recent.get(base)
        size = described_size(delta)
        if found is None or len(found[1]) + len(delta) + size > self._objects.limits.object_memory:
            return None
        self._spend(size)
        return found[0], apply_delta(found[1], delta)

    def _id_at(self, offset: int) -> bytes:
        return self.records[bisect_left(self._offsets, offset)][:ID] if self.has(offset) else b""

    def _keep(self, sha: bytes, kind: int, data: bytes) -> None:
        if sha in self._recent:
            return
        self._recent[sha] = kind, data
        self._recent_size += len(data)
        while self._recent_size > _KEPT:
            self._recent_size -= len(self._recent.popitem(last=False)[1][1])


class _LargeObject:
    """An object, or a delta, that is inflated piece by piece."""

    def __init__(self, head: Head, offset: int, crc: int) -> None:
        self.head, self.offset, self.crc = head, offset, crc
        self.digest = _hash(head.kind, head.size) if head.kind in NAMES else None
        self._inflate, self._left = zlib.decompressobj(), head.size

    @property
    def is_whole(self) -> bool:
        return self._inflate.eof

    def feed(self, data: memoryview) -> tuple[int, int]:
        """How many bytes were used, and how many were made of them."""
        piece = _inflate(self._inflate, data, _READ)
        used = len(data) - len(self._inflate.unused_data or self._inflate.unconsumed_tail)
        self.crc = zlib.crc32(data[:used], self.crc)
        self._left -= len(piece)
        if self._left < 0:
            raise Broken("an object is larger than it claims")
        if self._inflate.eof and self._left:
            raise Broken("an object is smaller than it claims")
        if self.digest:
            self.digest.update(piece)
        return used, len(piece)


def _inflate(inflate: zlib._Decompress, data: memoryview, most: int) -> bytes:
    try:
        return inflate.decompress(data, most)
    except zlib.error:
        raise Broken("an object cannot be inflated") from None


def index_deltas(pack: Pack, objects: Objects, scan: PackScan, spend: Spend) -> tuple[list[bytes], set[bytes]]:
    """The index records of a scanned pack, and the ids of the bases that it lacks: they are among `objects`. Raises
    Broken, OSError, and the errors of `spend`."""
    with objects.including(pack, _GrowingIndex(scan.records), spend):
        bases = _resolve(pack, objects, scan)
    return scan.records, bases and bases.difference(data[:ID] for data in scan.records)


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


def _resolve(pack: Pack, objects: Objects, scan: PackScan) -> set[bytes]:
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
        offset, crc = todo.pop()
        kind, data = objects.read_at(pack, offset)
        sha = object_id(kind, data)
        scan.records.append(record(sha, crc, offset, len(data), kind))
        todo += [waiting for base in (offset, sha) for waiting in scan.waiting.pop(base, ())]
    if scan.waiting:
        raise Broken("the pack lacks the base of a delta")
    return others
