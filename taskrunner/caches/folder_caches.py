"""FolderCaches: the caches of one platform, kept as folders that every worker on this home shares.

A copy is good only after a clean end: it is marked dirty while it is leased, the commit removes the mark, and a dirty
copy without a lease is evicted. Locks on files say which copies are leased (`taskrunner.caches.cache_copy`).
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from taskrunner.caches.cache_copy import CacheCopy
from taskrunner.caches.filling import filling
from taskrunner.caches.folder_lease import FolderLease, on_disk
from taskrunner.caches.selection import acquire, copies, evict, evicted, is_free, release_unused
from taskrunner.errors import Complaint, MalformedPayload, TaskFailedInternally, local_failure
from taskrunner.interfaces.caches import CacheFolder, Caches
from taskrunner.limits import CACHE_HINT, CACHE_PATTERN

NAME = re.compile(CACHE_PATTERN)

MakeFolder = Callable[[str, Path], CacheFolder]
"""Makes the folder of a cache's name at a path that exists: `Platform.new_cache_folder`."""


class FolderCaches(Caches):
    """Keeps the copies of cache `npm` in `<root>/npm`. Used from one event loop, by several runs at once."""

    def __init__(self, root: Path, make: MakeFolder) -> None:
        self._root, self._make = root, make
        self._filling: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Those of this worker wait here, in their order; one of them waits for the other workers."""

    async def exclusive(self, name: str) -> FolderLease:
        return await self._lease(name, shared=False)

    async def shared(self, name: str) -> FolderLease:
        return await self._lease(name, shared=True)

    @asynccontextmanager
    async def filling(self, name: str) -> AsyncIterator[None]:
        _check(name)
        async with self._filling.setdefault(name, asyncio.Lock()), AsyncExitStack() as held:
            try:
                await held.enter_async_context(filling(self._root / name))
            except OSError as error:
                raise _out_of_reach(name, error) from error
            yield

    async def trim(
        self, *, min_free: int = 0, max_bytes: int | None = None, max_age: float | None = None, dry_run: bool = False
    ) -> int:
        """What dead workers have left is deleted in any case, and not counted."""
        if not dry_run:
            await self._delete(await on_disk(self._evict_broken, "looking for broken caches"))
        oldest_first = await on_disk(self._by_age, "listing the caches")
        sizes = (
            {copy.path: (await self._folder(copy.path).usage()).size for copy in oldest_first}
            if max_bytes is not None
            else {}
        )
        oldest = 0 if max_age is None else time.time_ns() - int(max_age * 1e9)
        deleted, held = 0, sum(sizes.values())
        for copy in oldest_first:
            too_much = max_bytes is not None and held > max_bytes
            if not too_much and copy.used_at >= oldest and self._free >= min_free:
                break
            if await self._gone(copy, dry_run=dry_run):
                deleted += 1
                held -= sizes.get(copy.path, 0)
        return deleted

    @property
    def _free(self) -> int:
        """Bytes that are free on the disk."""
        return shutil.disk_usage(self._root).free

    async def _gone(self, copy: CacheCopy, *, dry_run: bool) -> bool:
        """Deletes a copy, unless it is leased. Returns whether it did, or would have."""
        if dry_run:
            return await on_disk(partial(is_free, copy), f"looking at {copy.path}")
        gone = await on_disk(partial(evict, copy, only_broken=False), f"evicting {copy.path}")
        if gone:
            await self._delete([gone])
        return bool(gone)

    async def _lease(self, name: str, *, shared: bool) -> FolderLease:
        _check(name)
        try:
            copy, broken = await on_disk(
                partial(acquire, self._root / name, shared=shared),
                "choosing a copy",
                discard=lambda late: release_unused(late[0], shared=shared),
            )
        except OSError as error:
            raise _out_of_reach(name, error) from error
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


def _check(name: str) -> None:
    """Raises MalformedPayload."""
    if not NAME.fullmatch(name):
        raise MalformedPayload(Complaint("caches", f"{name[:200]!r} cannot be the name of a cache", CACHE_HINT))


def _out_of_reach(name: str, error: OSError) -> TaskFailedInternally:
    return local_failure(f"the cache {name} is out of reach: {error}", error)
