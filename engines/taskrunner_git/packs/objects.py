"""The objects of several packs by their id, with all deltas applied."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from taskrunner_git.failures import Broken
from taskrunner_git.packs.delta import apply_delta
from taskrunner_git.packs.index import Place
from taskrunner_git.packs.pack import OFS_DELTA, REF_DELTA, Pack

_KEPT_BASES = 16 << 20
"""Bytes of bases in the cache: the next delta usually has the same base."""

PackOffset = tuple[Pack, int]
"""A pack and an offset in it."""


class Lookup(Protocol):
    """Finds the objects of one pack."""

    def find(self, sha: bytes) -> Place | None: ...


class Objects:
    """Used from one thread at a time. Every method may raise Broken, and OSError."""

    def __init__(self) -> None:
        self._packs: list[tuple[Pack, Lookup]] = []
        self._bases: OrderedDict[PackOffset, bytes] = OrderedDict()
        self._kept = 0

    def add(self, pack: Pack, lookup: Lookup) -> None:
        """Adds the objects of a pack, which `close` closes with the others."""
        self._packs.append((pack, lookup))

    @contextmanager
    def including(self, pack: Pack, lookup: Lookup) -> Iterator[None]:
        """Adds the objects of a pack until the end of the block."""
        self._packs.append((pack, lookup))
        try:
            yield
        finally:
            self._packs.remove((pack, lookup))
            self._clear_cache()

    def close(self) -> None:
        """A second call does nothing."""
        for pack, _ in self._packs:
            pack.close()
        self._packs.clear()
        self._clear_cache()

    def find(self, sha: bytes) -> Place | None:
        """Offset, size and type of an object, which is not read."""
        found = self._find(sha)
        return found[1] if found else None

    def read(self, sha: bytes) -> tuple[int, bytes]:
        """An object's type and data."""
        pack, place = self._found(sha)
        return place.kind, self.read_at(pack, place.offset)

    def stream(self, sha: bytes) -> Iterator[bytes]:
        """An object's data in pieces; in one piece, if it is a delta."""
        pack, place = self._found(sha)
        head = pack.head(place.offset)
        if head.kind in {OFS_DELTA, REF_DELTA}:
            return iter([self.read_at(pack, place.offset)])
        return pack.stream(place.offset, head)

    def read_at(self, pack: Pack, offset: int) -> bytes:
        """The object at an offset. A chain of deltas is followed in a loop: it may be thousands long."""
        at: PackOffset = (pack, offset)
        deltas: list[tuple[PackOffset, bytes]] = []
        while (data := self._cached(at)) is None:
            head, data = at[0].read(at[1])
            if head.kind not in {OFS_DELTA, REF_DELTA}:
                break
            deltas.append((at, data))
            at = self._locate(at[0], head.base)
        for next_place, delta in reversed(deltas):
            self._cache(at, data)
            data = apply_delta(data, delta)
            at = next_place
        return data

    def _find(self, sha: bytes) -> tuple[Pack, Place] | None:
        for pack, lookup in self._packs:
            if place := lookup.find(sha):
                return pack, place
        return None

    def _found(self, sha: bytes) -> tuple[Pack, Place]:
        found = self._find(sha)
        if found is None:
            raise Broken(f"the object {sha.hex()} is missing")
        return found

    def _locate(self, pack: Pack, base: int | bytes) -> PackOffset:
        if isinstance(base, int):
            return pack, base
        pack, place = self._found(base)
        return pack, place.offset

    def _cached(self, at: PackOffset) -> bytes | None:
        if at in self._bases:
            self._bases.move_to_end(at)
        return self._bases.get(at)

    def _cache(self, at: PackOffset, data: bytes) -> None:
        if at in self._bases or len(data) > _KEPT_BASES:
            return
        self._bases[at] = data
        self._kept += len(data)
        while self._kept > _KEPT_BASES:
            self._kept -= len(self._bases.popitem(last=False)[1])

    def _clear_cache(self) -> None:
        self._bases.clear()
        self._kept = 0
