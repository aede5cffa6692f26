"""The sizes and types of a pack's objects, in a file beside its index.

Only lists of files use them: contents are read by the pack alone. A missing or damaged file is made again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from taskrunner_git.failures import Broken
from taskrunner_git.packs.delta import MAX_HEADER, described_size
from taskrunner_git.packs.index import SIZE_AND_TYPE, Index
from taskrunner_git.packs.pack import OFS_DELTA, REF_DELTA, TRAILER, Pack

_MAGIC = b"taskrunner sizes 1\n"


def load_sizes(path: Path, index: Index, pack: Pack) -> bytes:
    """The sizes and types in the order of the index. Raises Broken (the pack is damaged), OSError."""
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    body = data[len(_MAGIC) : -TRAILER]
    if len(body) != index.count * SIZE_AND_TYPE.size or data[-TRAILER:] != _checksum(index, body):
        body = _read_from(pack, index)
        save_sizes(path, index, body)
    return body


def save_sizes(path: Path, index: Index, sizes: bytes) -> None:
    """Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_bytes(_MAGIC + sizes + _checksum(index, sizes))


def _checksum(index: Index, sizes: bytes) -> bytes:
    """Of the index too, so that the sizes of another pack are never used."""
    return hashlib.sha1(_MAGIC + index.checksum + sizes, usedforsecurity=False).digest()


def _read_from(pack: Pack, index: Index) -> bytes:
    """Reads the head of each object, and of a delta its first bytes."""
    kinds: dict[int, int] = {}
    sizes = bytearray()
    for position in range(index.count):
        offset = index.offset(position)
        head = pack.head(offset)
        size = head.size
        if head.kind in {OFS_DELTA, REF_DELTA}:
            size = described_size(pack.start(offset, head, MAX_HEADER))
        sizes += SIZE_AND_TYPE.pack(size, _kind(pack, index, offset, kinds))
    return bytes(sizes)


def _kind(pack: Pack, index: Index, offset: int, kinds: dict[int, int]) -> int:
    """The type of an object, which is that of the first object in its chain of deltas."""
    chain: list[int] = []
    while offset not in kinds:
        head = pack.head(offset)
        chain.append(offset)
        if head.kind not in {OFS_DELTA, REF_DELTA}:
            kinds[offset] = head.kind
        elif len(chain) > index.count:
            raise Broken("the deltas of a pack are their own bases")
        else:
            offset = head.base if isinstance(head.base, int) else _offset(index, head.base)
    kinds.update(dict.fromkeys(chain, kinds[offset]))
    return kinds[offset]


def _offset(index: Index, sha: bytes) -> int:
    position = index.position(sha)
    if position is None:
        raise Broken("a pack lacks the base of a delta")
    return index.offset(position)
