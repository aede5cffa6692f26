"""Several packs as one, with the objects that are needed. Compressed data is copied as it is, never inflated."""

from __future__ import annotations

import os
import struct
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from taskrunner_git.failures import Broken
from taskrunner_git.packs.index import Index, Place, record
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack import ID, OFS_DELTA, REF_DELTA, TRAILER, Pack, made_head
from taskrunner_git.packs.thin import finish


def combine(
    objects: Objects, indexes: Mapping[Pack, Index], ids: Iterable[bytes], path: Path, check: Callable[[], None]
) -> tuple[list[bytes], bytes]:
    """Writes a pack with these objects, and the bases of their deltas. Returns its index records, and the SHA-1 that it
    ends with. `indexes` are those of all packs in `objects`, each of which stands alone.

    The copy of an object is always that in the first pack that has it, so that no delta becomes its own base. Raises
    Broken, OSError, and the errors of `check`.
    """
    layouts = {pack: Layout(pack, index) for pack, index in indexes.items()}
    places = _with_bases(objects, layouts, ids)
    order = {pack: number for number, pack in enumerate(layouts)}
    records = []
    with path.open("w+b") as file:
        end = file.write(struct.pack(">4sII", b"PACK", 2, 0))
        for sha in sorted(places, key=lambda sha: (order[places[sha][0]], places[sha][1].offset)):
            check()
            pack, place = places[sha]
            crc, start = 0, end
            for data in layouts[pack].copied(place.offset):
                crc = zlib.crc32(data, crc)
                end += file.write(data)
            records.append(record(sha, crc, start, place.size, place.kind))
        return records, finish(file, len(records), check)


def _with_bases(
    objects: Objects, layouts: Mapping[Pack, Layout], ids: Iterable[bytes]
) -> dict[bytes, tuple[Pack, Place]]:
    """Where each object is, and each base that its deltas need."""
    places: dict[bytes, tuple[Pack, Place]] = {}
    todo = list(ids)
    while todo:
        sha = todo.pop()
        if sha in places:
            continue
        found = objects.find_pack(sha)
        if found is None:
            raise Broken(f"the object {sha.hex()} is missing")
        places[sha] = pack, place = found
        if base := layouts[pack].base(place.offset):
            todo.append(base)
    return places


class Layout:
    """The objects of a pack in the order of their offsets."""

    def __init__(self, pack: Pack, index: Index) -> None:
        self._pack = pack
        found = sorted((index.offset(position), sha) for position, sha in enumerate(index.ids()))
        self._offsets = array("Q", (offset for offset, _ in found))
        self._ids = b"".join(sha for _, sha in found)
        self._offsets.append(os.fstat(pack.descriptor).st_size - TRAILER)

    def base(self, offset: int) -> bytes | None:
        """The id of a delta's base."""
        head = self._pack.head(offset)
        if head.kind not in {OFS_DELTA, REF_DELTA}:
            return None
        return head.base if isinstance(head.base, bytes) else self._id(head.base)

    def copied(self, offset: int) -> Iterator[bytes]:
        """The bytes of an object, where a delta names its base by id."""
        head = self._pack.head(offset)
        base = self.base(offset)
        yield made_head(REF_DELTA if base else head.kind, head.size) + (base or b"")
        yield from self._pack.raw(offset + head.length, self._offsets[self._number(offset) + 1])

    def _id(self, offset: int) -> bytes:
        start = self._number(offset) * ID
        return self._ids[start : start + ID]

    def _number(self, offset: int) -> int:
        number = bisect_left(self._offsets, offset)
        if self._offsets[number : number + 1] != array("Q", [offset]):
            raise Broken("the base of a delta is not in its pack")
        return number
