"""FolderCaches: the caches of one platform, kept as folders that every worker on this home shares.

A copy is good only after a clean end: it is marked dirty while it is used, the mark goes with the commit, and a dirty
copy that nobody holds is thrown away. Who holds what is decided by locks on files (`taskrunner.cache_copies`).
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from taskrunner.caches.copies import CacheCopy, choosing, copies, evicted, new_copy
from taskrunner.errors import Complaint, MalformedPayload, TaskFailedInternally
from taskrunner.interfaces.caches import CacheFolder, Caches, Lease

NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")

MakeFolder = Callable[[str, Path], CacheFolder]
"""Gives the folder of a cache's name at a path that exists: `Platform.new_cache_folder`."""

log = logging.getLogger(__name__)


class FolderCaches(Caches):
    """Keeps the copies of cache `npm` in `<root>/npm`. Used from one event loop, by several runs at once."""

    def __init__(self, root: Path, make: MakeFolder) -> None:
        self._root, self._make = root, make

    async def exclusive(self, name: str) -> FolderLease:
        return await self._lease(name, shared=False)

    async def shared(self, name: str) -> FolderLease:
        return await self._lease(name, shared=True)

    async def trim(self, *, max_bytes: int | None = None, min_free: int = 0) -> int:
        """Deletes the least recently used copies that nobody holds until all copies together have at most `max_bytes`,
        and the disk has at least `min_free` bytes free. What died workers have left goes in any case.

        Returns how many copies were deleted. Raises OSError.
        """
        await self._sweep()
        known = sorted(self._copies(), key=lambda copy: copy.used_at)
        sizes = [await self._size(copy) if max_bytes is not None else 0 for copy in known]
        total, deleted = sum(sizes), 0
        for copy, size in zip(known, sizes, strict=True):
            if (max_bytes is None or total <= max_bytes) and shutil.disk_usage(self._root).free >= min_free:
                break
            if gone := await asyncio.to_thread(_evict, copy, only_broken=False):
                await self._folder(gone).delete()
                total, deleted = total - size, deleted + 1
        return deleted

    async def _lease(self, name: str, *, shared: bool) -> FolderLease:
        if not NAME.fullmatch(name) or name in {".", ".."}:
            fix = "take 1 to 128 letters, digits, `.`, `_` and `-`"
            raise MalformedPayload(Complaint("caches", f"{name[:200]!r} cannot be the name of a cache", fix))
        try:
            copy, broken = await _taken(self._root / name, shared=shared)
        except OSError as error:
            raise TaskFailedInternally(f"the cache {name} is out of reach: {error}") from error
        try:
            for path in broken:
                await self._folder(path).delete()
            return FolderLease(self._folder, copy, shared=shared)
        except BaseException:
            _give_back(copy, shared=shared)
            raise

    async def _sweep(self) -> None:
        """Deletes copies that were left in the middle of a run, and what is set aside."""
        for copy in self._copies():
            if not copy.usable:
                await asyncio.to_thread(_evict, copy, only_broken=True)
        for place in self._places():
            for path in evicted(place):
                await self._folder(path).delete()

    async def _size(self, copy: CacheCopy) -> int:
        try:
            return await self._folder(copy.path).size()
        except OSError:  # another worker is deleting it, or a run is at work in it
            return 0

    def _copies(self) -> list[CacheCopy]:
        return [copy for place in self._places() for copy in copies(place)]

    def _places(self) -> Iterator[Path]:
        if self._root.is_dir():
            yield from (path for path in sorted(self._root.iterdir()) if path.is_dir() and NAME.fullmatch(path.name))

    def _folder(self, path: Path) -> CacheFolder:
        return self._make(path.parent.name, path)


class FolderLease(Lease):
    """Neither end raises: a copy whose commit fails stays dirty, and is thrown away by whoever finds it next."""

    def __init__(self, make: Callable[[Path], CacheFolder], copy: CacheCopy, *, shared: bool) -> None:
        self.folder = make(copy.path)
        self._make, self._copy, self._shared = make, copy, shared
        self._ended = False

    async def commit(self) -> None:
        await self._end(self._settle)

    async def discard(self) -> None:
        await self._end(self._throw_away)

    async def _end(self, how: Callable[[], Path | None]) -> None:
        if self._ended:
            return
        self._ended = True
        try:
            gone = how()
        except OSError as error:
            log.warning("the cache %s was not given back in order: %s", self.folder.name, error)
            return
        finally:
            self._copy.release()
        if gone:
            await self._make(gone).delete()

    def _settle(self) -> Path | None:
        if not self._shared:
            self._copy.mark_clean()
        elif self._copy.usable:
            self._copy.touch()
        else:  # another reader has thrown it away meanwhile; the last one deletes it
            return self._copy.evict()
        return None

    def _throw_away(self) -> Path | None:
        self._copy.mark_dirty()
        return self._copy.evict()


async def _taken(place: Path, *, shared: bool) -> tuple[CacheCopy, list[Path]]:
    """As `_take`, in a thread. When it is cancelled, it gives the copy back first: the thread cannot be stopped."""
    taking = asyncio.ensure_future(asyncio.to_thread(_take, place, shared=shared))
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        taking.add_done_callback(partial(_give_back_taken, shared=shared))
        while not taking.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([taking])
        raise


def _give_back_taken(taking: asyncio.Future[tuple[CacheCopy, list[Path]]], *, shared: bool) -> None:
    if not taking.cancelled() and taking.exception() is None:
        _give_back(taking.result()[0], shared=shared)


def _take(place: Path, *, shared: bool) -> tuple[CacheCopy, list[Path]]:
    """The copy to use, held, and what of the others is to be deleted. Blocking, for milliseconds."""
    broken: list[Path] = []
    with choosing(place):
        for copy in copies(place):
            if copy.acquire(shared=shared):
                if copy.usable:
                    return _prepared(copy, shared=shared), broken
                broken += [gone] if (gone := copy.evict()) else []
        return _prepared(new_copy(place), shared=shared), broken


def _prepared(copy: CacheCopy, *, shared: bool) -> CacheCopy:
    try:
        if shared:
            copy.downgrade()
        else:
            copy.mark_dirty()
    except OSError:
        copy.release()
        raise
    return copy


def _give_back(copy: CacheCopy, *, shared: bool) -> None:
    """Nobody has used it after all."""
    try:
        if not shared:
            copy.mark_clean()
    finally:
        copy.release()


def _evict(copy: CacheCopy, *, only_broken: bool) -> Path | None:
    """Takes a copy that nobody holds out of use. Blocking, for milliseconds."""
    with choosing(copy.path.parent):
        if not copy.acquire(shared=False):
            return None
        if only_broken and copy.usable:
            copy.release()
            return None
        return copy.evict()
