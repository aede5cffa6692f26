"""The objects of one commit as a pack of git's own, without deltas."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO

from dulwich.pack import write_pack_index_v2

from taskrunner_git.failures import Broken
from taskrunner_git.packs.objects import Objects

_LEVEL = 1
"""Of zlib: the pack lives as long as the run."""


class PackWriter:
    """`pieces` is the pack; after its end, `index` is the index of it."""

    def __init__(self, objects: Objects, shas: Sequence[bytes], check: Callable[[], None]) -> None:
        """`check` is called before each object, and may raise to end the work."""
        self._objects, self._shas, self._check = objects, sorted(shas), check
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._size = 0
        self._entries: list[tuple[bytes, int, int | None]] = []

    @property
    def name(self) -> str:
        """As git names it: by the ids in it."""
        return f"pack-{hashlib.sha1(b''.join(self._shas), usedforsecurity=False).hexdigest()}"

    def pieces(self) -> Iterator[bytes]:
        """Raises Broken, OSError, and what `check` raises."""
        yield self._counted(struct.pack(">4s2I", b"PACK", 2, len(self._shas)))
        for sha in self._shas:
            self._check()
            offset, crc = self._size, 0
            for piece in self._object(sha):
                crc = zlib.crc32(piece, crc)
                yield self._counted(piece)
            self._entries.append((sha, offset, crc))
        yield self._digest.digest()

    def index(self) -> bytes:
        file = BytesIO()
        write_pack_index_v2(file, self._entries, self._digest.digest())
        return file.getvalue()

    def _object(self, sha: bytes) -> Iterator[bytes]:
        place = self._objects.find(sha)
        if place is None:
            raise Broken(f"the object {sha.hex()} is missing")
        yield _head(place.kind, place.size)
        deflate = zlib.compressobj(_LEVEL)
        for piece in self._objects.stream(sha):
            yield deflate.compress(piece)
        yield deflate.flush()

    def _counted(self, data: bytes) -> bytes:
        self._size += len(data)
        self._digest.update(data)
        return data


def _head(kind: int, size: int) -> bytes:
    """Type and size: 4 bits of the size in the first byte, 7 in each further one."""
    first, size = kind << 4 | size & 15, size >> 4
    head = bytearray()
    while size:
        head.append(first | 0x80)
        first, size = size & 0x7F, size >> 7
    head.append(first)
    return bytes(head)
