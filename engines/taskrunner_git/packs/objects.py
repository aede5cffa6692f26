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
"""Bytes of objects that deltas were made from: the next delta usually has the same base."""

Spot = tuple[Pack, int]
"""A pack and an offset in it."""


class Lookup(Protocol):
    """Where the objects of one pack are."""

    def find(self, sha: bytes) -> Place | None: ...


class Objects:
    """Not to be used by two threads at once. Every method may raise Broken, and OSError."""

    def __init__(self) -> None:
        self._packs: list[tuple[Pack, Lookup]] = []
        self._bases: OrderedDict[Spot, bytes] = OrderedDict()
        self._kept = 0

    def add(self, pack: Pack, lookup: Lookup) -> None:
        """From now on, the objects of this pack are found as well; it is closed with the others."""
        self._packs.append((pack, lookup))

    @contextmanager
    def including(self, pack: Pack, lookup: Lookup) -> Iterator[None]:
        """For as long as it lasts, the objects of this pack are found as well."""
        self._packs.append((pack, lookup))
        try:
            yield
        finally:
            self._packs.remove((pack, lookup))
            self._forget()

    def close(self) -> None:
        """A second call does nothing."""
        for pack, _ in self._packs:
            pack.close()
        self._packs.clear()
        self._forget()

    def find(self, sha: bytes) -> Place | None:
        """What is known of an object without reading it."""
        found = self._find(sha)
        return found[1] if found else None

    def read(self, sha: bytes) -> tuple[int, bytes]:
        """An object's type and data."""
        pack, place = self._found(sha)
        return place.kind, self.read_at(pack, place.offset)

    def stream(self, sha: bytes) -> Iterator[bytes]:
        """An object's data in pieces; in one, if it is made from others."""
        pack, place = self._found(sha)
        head = pack.head(place.offset)
        if head.kind in {OFS_DELTA, REF_DELTA}:
            return iter([self.read_at(pack, place.offset)])
        return pack.stream(place.offset, head)

    def read_at(self, pack: Pack, offset: int) -> bytes:
        """The object at an offset. A chain of deltas is followed in a loop: it may be thousands long."""
        spot: Spot = (pack, offset)
        deltas: list[tuple[Spot, bytes]] = []
        while (data := self._base(spot)) is None:
            head, data = spot[0].read(spot[1])
            if head.kind not in {OFS_DELTA, REF_DELTA}:
                break
            deltas.append((spot, data))
            spot = self._spot(spot[0], head.base)
        for next_spot, delta in reversed(deltas):
            self._keep(spot, data)
            data = apply_delta(data, delta)
            spot = next_spot
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

    def _spot(self, pack: Pack, base: int | bytes) -> Spot:
        if isinstance(base, int):
            return pack, base
        pack, place = self._found(base)
        return pack, place.offset

    def _base(self, spot: Spot) -> bytes | None:
        if spot in self._bases:
            self._bases.move_to_end(spot)
        return self._bases.get(spot)

    def _keep(self, spot: Spot, data: bytes) -> None:
        if spot in self._bases or len(data) > _KEPT_BASES:
            return
        self._bases[spot] = data
        self._kept += len(data)
        while self._kept > _KEPT_BASES:
            self._kept -= len(self._bases.popitem(last=False)[1])

    def _forget(self) -> None:
        self._bases.clear()
        self._kept = 0
