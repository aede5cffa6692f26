"""Eviction: all caches of a home together, those of engines and of every platform, within the limits of `[caches]`.

A copy that is leased is never evicted, by this worker or by another on the home. Of the others the least recently used
goes first, whichever platform it is of.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import attrs

from taskrunner.caches.cache_copy import CacheCopy
from taskrunner.caches.folder_caches import NAME, MakeFolder
from taskrunner.caches.folder_lease import on_disk
from taskrunner.caches.selection import copies, evict, is_free
from taskrunner.interfaces.caches import CacheLimits, CacheUsage

ENGINES = ""
"""In place of a platform's name: the caches of engines, such as mirrors of repositories."""


@attrs.define(eq=False)
class Eviction:
    """Used from one event loop; one eviction at a time.

    `folder_of` makes the folders of a platform's caches, also of one that is not open. A copy is measured again only
    when it was used meanwhile: one that a run is writing to counts as it was before.
    """

    home: Path
    limits: CacheLimits
    folder_of: Callable[[str], MakeFolder]
    _measured: dict[Path, tuple[int, CacheUsage]] = attrs.field(init=False, factory=dict)
    """By the copy: when it was used, and what it took then."""
    _busy: asyncio.Lock = attrs.field(init=False, factory=asyncio.Lock)

    async def run(self, *, dry_run: bool = False) -> int:
        """Evicts until the caches are within the limits, or all others are leased. Returns how many it evicted, or with
        `dry_run` would have.

        Raises: OSError.
        """
        if self.limits == CacheLimits():
            return 0
        async with self._busy:
            return await self._run(dry_run=dry_run)

    async def _run(self, *, dry_run: bool) -> int:
        found = await on_disk(self._by_age, "listing the caches")
        usages = [await self._usage(platform, copy) for platform, copy in found]
        held, evicted = sum(usages, CacheUsage()), 0
        for (platform, copy), usage in zip(found, usages, strict=True):
            if not self._is_too_much(held):
                break
            if await self._gone(platform, copy, dry_run=dry_run):
                held, evicted = held - usage, evicted + 1
        return evicted

    def _is_too_much(self, held: CacheUsage) -> bool:
        limits = self.limits
        return (
            (limits.max_size is not None and held.size > limits.max_size)
            or (limits.max_inodes is not None and held.inodes > limits.max_inodes)
            or shutil.disk_usage(self.home).free < limits.min_free
        )

    async def _usage(self, platform: str, copy: CacheCopy) -> CacheUsage:
        if self.limits.max_size is self.limits.max_inodes is None:
            return CacheUsage()
        used_at, (measured_at, usage) = copy.used_at, self._measured.get(copy.path, (-1, CacheUsage()))
        if used_at != measured_at:
            usage = await self.folder_of(platform)(copy.path.parent.name, copy.path).usage()
            self._measured[copy.path] = used_at, usage
        return usage

    async def _gone(self, platform: str, copy: CacheCopy, *, dry_run: bool) -> bool:
        """Evicts a copy, unless it is leased. Returns whether it did, or would have."""
        if dry_run:
            return await on_disk(partial(is_free, copy), f"looking at {copy.path}")
        gone = await on_disk(partial(evict, copy, only_broken=False), f"evicting {copy.path}")
        if gone:
            self._measured.pop(copy.path, None)
            await self.folder_of(platform)(copy.path.parent.name, gone).delete()
        return bool(gone)

    def _by_age(self) -> list[tuple[str, CacheCopy]]:
        """The least recently used first."""
        found = [(platform, copy) for platform, root in self._roots() for copy in _copies_below(root)]
        return sorted(found, key=lambda each: each[1].used_at)

    def _roots(self) -> Iterator[tuple[str, Path]]:
        yield ENGINES, self.home / "engine-caches"
        for folder in _folders(self.home / "caches"):
            yield folder.name, folder


def _copies_below(root: Path) -> Iterator[CacheCopy]:
    for place in _folders(root):
        if NAME.fullmatch(place.name):
            yield from copies(place)


def _folders(root: Path) -> list[Path]:
    return [path for path in sorted(root.iterdir()) if path.is_dir()] if root.is_dir() else []
