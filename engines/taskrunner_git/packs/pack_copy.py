"""Some objects of a mirror as one pack for a checkout.

The compressed data is copied as it is. A delta stays one if its base is copied too; any other object is written whole,
since the checkout of a commit must not have what only other commits have. When a pack of the mirror has exactly these
objects, as after a first fetch, its files are copied.

A hard link to the mirror's pack would take no time, and is not made. It is the same file: a task that runs as the same
user, or as root in a container, could write into the mirror, and so into the next run's files. It would also give the
task other commits of the repository, which the token of the source may read and the task may not.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO

from dulwich.pack import write_pack_index_v2

from taskrunner_git.failures import Broken
from taskrunner_git.packs.combine import Layout
from taskrunner_git.packs.index import Place, SizedIndex
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack import Pack, made_head

_LEVEL = 1
"""Of zlib: the pack lives as long as the run."""


class PackCopy:
    """`pieces` is the pack; after its end, `index` is the index of it."""

    def __init__(self, objects: Objects, shas: set[bytes], check: Callable[[], None]) -> None:
        """`check` is called before each object, and may raise to end the work. Raises Broken."""
        self._objects, self._shas, self._check = objects, shas, check
        self._packs = objects.packs
        self._places = {sha: _found(objects, sha) for sha in shas}
        self._layouts: dict[Pack, Layout] = {}
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._size = 0
        self._entries: list[tuple[bytes, int, int | None]] = []

    @property
    def name(self) -> str:
        """As git names it: by the ids in it."""
        return f"pack-{hashlib.sha1(b''.join(sorted(self._shas)), usedforsecurity=False).hexdigest()}"

    def whole(self) -> tuple[Pack, bytes] | None:
        """The pack of the mirror that has exactly these objects, and its index."""
        packs = {pack for pack, _ in self._places.values()}
        pack = packs.pop() if len(packs) == 1 else None
        index = self._index_of(pack).index if pack else None
        return (pack, index.data) if pack and index and index.count == len(self._shas) else None

    def pieces(self) -> Iterator[bytes]:
        """Raises Broken, TaskFailed, OSError, and what `check` raises."""
        yield self._counted(struct.pack(">4s2I", b"PACK", 2, len(self._shas)))
        order = {pack: number for number, pack in enumerate(self._packs)}
        for sha, (pack, place) in sorted(self._places.items(), key=lambda item: (order[item[1][0]], item[1][1].offset)):
            self._check()
            offset, crc = self._size, 0
            for piece in self._object(sha, pack, place):
                crc = zlib.crc32(piece, crc)
                yield self._counted(piece)
            self._entries.append((sha, offset, crc))
        yield self._digest.digest()

    def index(self) -> bytes:
        file = BytesIO()
        write_pack_index_v2(file, sorted(self._entries), self._digest.digest())
        return file.getvalue()

    def _object(self, sha: bytes, pack: Pack, place: Place) -> Iterator[bytes]:
        if pack not in self._layouts:
            self._layouts[pack] = Layout(pack, self._index_of(pack).index)
        layout = self._layouts[pack]
        base = layout.base(place.offset)
        if base is None or (base in self._shas and self._places[base][0] is pack):
            return layout.copied(place.offset)
        return self._written(sha, place)

    def _written(self, sha: bytes, place: Place) -> Iterator[bytes]:
        yield made_head(place.kind, place.size)
        deflate = zlib.compressobj(_LEVEL)
        for piece in self._objects.stream(sha):
            yield deflate.compress(piece)
        yield deflate.flush()

    def _index_of(self, pack: Pack) -> SizedIndex:
        found = self._packs[pack]
        assert isinstance(found, SizedIndex)  # noqa: S101  a pack that is being indexed is no part of a commit
        return found

    def _counted(self, data: bytes) -> bytes:
        self._size += len(data)
        self._digest.update(data)
        return data


def _found(objects: Objects, sha: bytes) -> tuple[Pack, Place]:
    found = objects.find_pack(sha)
    if found is None:
        raise Broken(f"the object {sha.hex()} is missing")
    return found
