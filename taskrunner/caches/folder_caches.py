"""FolderCaches: the caches of one platform, kept as folders that every worker on this home shares.

A copy is good only after a clean end: it is marked dirty while it is leased, the commit removes the mark, and a dirty
copy without a lease is evicted. Locks on files say which copies are leased (`taskrunner.caches.cache_copy`).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from taskrunner.caches.cache_copy import CacheCopy
from taskrunner.caches.folder_lease import FolderLease, on_disk
from taskrunner.caches.selection import acquire, copies, evict, evicted, release_unused
from taskrunner.errors import Complaint, MalformedPayload, TaskFailedInternally
from taskrunner.interfaces.caches import CacheFolder, Caches
from taskrunner.limits import CACHE_HINT, CACHE_PATTERN

NAME = re.compile(CACHE_PATTERN)

MakeFolder = Callable[[str, Path], CacheFolder]
"""Makes the folder of a cache's name at a path that exists: `Platform.new_cache_folder`."""


class FolderCaches(Caches):
    """Keeps the copies of cache `npm` in `<root>/npm`. Used from one event loop, by several runs at once."""

    def __init__(self, root: Path, make: MakeFolder) -> None:
        self._root, self._make = root, make

    async def exclusive(self, name: str) -> FolderLease:
        return await self._lease(name, shared=False)

    async def shared(self, name: str) -> FolderLease:
        return await self._lease(name, shared=True)

    async def trim(self, *, min_free: int = 0) -> int:
        """Deletes the least recently used copies that are not leased until the disk has at least `min_free` bytes free.
        What dead workers have left is deleted in any case.

        Returns how many copies were deleted. Raises OSError.
        """
        await self._delete(await on_disk(self._evict_broken, "looking for broken caches"))
        deleted = 0
        for copy in await on_disk(self._by_age, "listing the caches"):
            if shutil.disk_usage(self._root).free >= min_free:
                break
            if gone := await on_disk(partial(evict, copy, only_broken=False), f"evicting {copy.path}"):
                await self._delete([gone])
                deleted += 1
        return deleted

    async def _lease(self, name: str, *, shared: bool) -> FolderLease:
        if not NAME.fullmatch(name):
            raise MalformedPayload(Complaint("caches", f"{name[:200]!r} cannot be the name of a cache", CACHE_HINT))
        try:
            copy, broken = await on_disk(
                partial(acquire, self._root / name, shared=shared),
                "choosing a copy",
                discard=lambda late: release_unused(late[0], shared=shared),
            )
        except OSError as error:
            raise TaskFailedInternally(f"the cache {name} is out of reach: {error}") from error
        try:
            await self._delete(broken)
            return FolderLease(self._folder, copy, shared=shared)
        except BaseException:
            release_unused(copy, shared=shared)
            raise

    def _evict_broken(self) -> list[Path]:
        """Evicts copies that were left in the middle of a run. Returns every folder to be deleted."""
        for copy in self._copies():
            if not copy.usable:
                evict(copy, only_broken=True)
        return [path for place in self._places() for path in evicted(place)]

    def _by_age(self) -> list[CacheCopy]:
        """The least recently used first."""
        return sorted(self._copies(), key=lambda copy: copy.used_at)

    def _copies(self) -> Iterator[CacheCopy]:
        for place in self._places():
            yield from copies(place)

    def _places(self) -> Iterator[Path]:
        if self._root.is_dir():
            yield from (path for path in sorted(self._root.iterdir()) if path.is_dir() and NAME.fullmatch(path.name))

    async def _delete(self, paths: list[Path]) -> None:
        for path in paths:
            await self._folder(path).delete()

    def _folder(self, path: Path) -> CacheFolder:
        return self._make(path.parent.name, path)
