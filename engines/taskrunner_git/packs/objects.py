"""The objects of several packs by their id, with all deltas applied."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from taskrunner.errors import TaskFailed
from taskrunner.interfaces.source import SourceLimits
from taskrunner_git.failures import Broken, too_much
from taskrunner_git.packs.delta import apply_delta, described_size
from taskrunner_git.packs.index import Place
from taskrunner_git.packs.inflated import Inflated
from taskrunner_git.packs.pack import BLOB, OFS_DELTA, REF_DELTA, Head, Pack

_KEPT_BASES = 16 << 20
"""Bytes of bases in the cache: the next delta usually has the same base."""

_WHOLE = 1 << 16
"""Bytes of an object that is always read in one piece: that takes fewer steps, and most are smaller."""
_MAX_CHAIN = 4095
"""Deltas on deltas: git itself makes no longer chain, whatever its configuration says."""

PackOffset = tuple[Pack, int]
"""A pack and an offset in it."""


class Lookup(Protocol):
    """Finds the objects of one pack."""

    def find(self, sha: bytes) -> Place | None: ...


class Objects:
    """Used from one thread at a time. Every method may raise Broken, OSError, and TaskFailed for an object that takes
    too much memory."""

    def __init__(self, limits: SourceLimits | None = None, inflated: Inflated | None = None) -> None:
        """`inflated` has contents that need not be read from a pack again."""
        self.limits, self.inflated = limits or SourceLimits(), inflated
        self.spend: Callable[[int], None] = _spend_freely
        """Called with the number of bytes of each step of a chain of deltas; it may raise to end the work."""
        self._packs: list[tuple[Pack, Lookup]] = []
        self._bases: OrderedDict[PackOffset, tuple[int, bytes]] = OrderedDict()
        self._kept = 0

    def add(self, pack: Pack, lookup: Lookup) -> None:
        """Adds the objects of a pack, which `close` closes with the others."""
        self._packs.append((pack, lookup))

    @contextmanager
    def including(self, pack: Pack, lookup: Lookup, spend: Callable[[int], None]) -> Iterator[None]:
        """Adds the objects of a pack, and calls `spend`, until the end of the block."""
        self._packs.append((pack, lookup))
        before, self.spend = self.spend, spend
        try:
            yield
        finally:
            self.spend = before
            self._packs.remove((pack, lookup))
            self._clear_cache()

    @property
    def packs(self) -> dict[Pack, Lookup]:
        """All packs, in the order in which they are searched."""
        return dict(self._packs)

    def close(self) -> None:
        """A second call does nothing."""
        for pack, _ in self._packs:
            pack.close()
        self._packs.clear()
        if self.inflated:
            self.inflated.close()
        self._clear_cache()

    def find(self, sha: bytes) -> Place | None:
        """Offset, size and type of an object, which is not read."""
        found = self.find_pack(sha)
        return found[1] if found else None

    def find_pack(self, sha: bytes) -> tuple[Pack, Place] | None:
        """The first pack that has an object, and its place there."""
        for pack, lookup in self._packs:
            if place := lookup.find(sha):
                return pack, place
        return None

    def read(self, sha: bytes) -> tuple[int, bytes]:
        """An object's type and data."""
        pack, place = self._found(sha)
        return self.read_at(pack, place.offset)

    def stream(self, sha: bytes) -> Iterator[bytes]:
        """An object's data in pieces; in one piece, if it is small, or a delta."""
        if self.inflated and (kept := self.inflated.get(sha)) is not None:
            return iter([kept])
        pack, place = self._found(sha)
        if place.size <= _WHOLE:
            return iter([self.read_at(pack, place.offset)[1]])
        head = pack.head(place.offset)
        if head.kind in {OFS_DELTA, REF_DELTA}:
            return iter([self.read_at(pack, place.offset)[1]])
        return pack.stream(place.offset, head)

    def read_at(self, pack: Pack, offset: int) -> tuple[int, bytes]:
        """Type and data of the object at an offset. A chain of deltas is followed in a loop: it may be thousands
        long."""
        self.spend(0)
        at: PackOffset = (pack, offset)
        deltas: list[tuple[PackOffset, bytes]] = []
        held = 0
        while (found := self._cached(at)) is None:
            head, data = at[0].read(at[1], self.limits.object_memory - held)
            if data is None:
                raise self._too_large()
            self.spend(head.size)
            if head.kind not in {OFS_DELTA, REF_DELTA}:
                found = head.kind, data
                break
            deltas.append((at, data))
            held += head.size
            if len(deltas) > _MAX_CHAIN:
                raise Broken("the deltas of a pack are their own bases, or more than git makes")
            at = self._locate(at[0], head.base)
        kind, data = found
        while deltas:
            next_place, delta = deltas.pop()
            self._cache(at, kind, data)
            size = described_size(delta)
            if held + len(data) + size > self.limits.object_memory:
                raise self._too_large()
            self.spend(size)
            data = apply_delta(data, delta)
            held -= len(delta)
            at = next_place
        return kind, data

    def check_size(self, head: Head) -> None:
        """Raises TaskFailed when an object that must be whole in memory is too large for it."""
        if head.kind != BLOB and head.size > self.limits.object_memory:
            raise self._too_large()

    def _too_large(self) -> TaskFailed:
        return too_much("an object, with the deltas that it is made from,", "object_memory", self.limits)

    def _found(self, sha: bytes) -> tuple[Pack, Place]:
        found = self.find_pack(sha)
        if found is None:
            raise Broken(f"the object {sha.hex()} is missing")
        return found

    def _locate(self, pack: Pack, base: int | bytes) -> PackOffset:
        if isinstance(base, int):
            return pack, base
        pack, place = self._found(base)
        return pack, place.offset

    def _cached(self, at: PackOffset) -> tuple[int, bytes] | None:
        if at in self._bases:
            self._bases.move_to_end(at)
        return self._bases.get(at)

    def _cache(self, at: PackOffset, kind: int, data: bytes) -> None:
        if at in self._bases or len(data) > _KEPT_BASES:
            return
        self._bases[at] = kind, data
        self._kept += len(data)
        while self._kept > _KEPT_BASES:
            self._kept -= len(self._bases.popitem(last=False)[1][1])

    def _clear_cache(self) -> None:
        self._bases.clear()
        self._kept = 0


def _spend_freely(_: int) -> None: ...
