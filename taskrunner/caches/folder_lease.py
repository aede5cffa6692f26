"""FolderLease: the right of one run to use a copy of a cache."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from taskrunner.blocking import run_blocking
from taskrunner.caches.cache_copy import CacheCopy
from taskrunner.interfaces.caches import CacheFolder, Lease

T = TypeVar("T")

DISK_TIME = 60.0
"""Seconds to look at the copies of a cache, or to rename one, which takes about a millisecond: the disk hangs."""
GRACE = 10.0
"""Seconds that a cancelled call waits for its thread, so that the copy is released when the call has ended."""

log = logging.getLogger(__name__)


class FolderLease(Lease):
    """Neither end raises: a copy whose commit fails stays dirty, and is evicted by the next request that finds it."""

    def __init__(self, make: Callable[[Path], CacheFolder], copy: CacheCopy, *, shared: bool) -> None:
        self.folder = make(copy.path)
        self._make, self._copy, self._shared = make, copy, shared
        self._ended = False

    async def commit(self) -> None:
        await self._end(self._keep)

    async def discard(self) -> None:
        await self._end(self._evict)

    async def _end(self, how: Callable[[], Path | None]) -> None:
        if self._ended:
            return
        self._ended = True
        try:
            gone = await on_disk(partial(self._released, how), "releasing it")
        except OSError as error:
            log.warning("the cache %s was not released in order: %s", self.folder.name, error)
            return
        if gone:
            await self._make(gone).delete()

    def _released(self, how: Callable[[], Path | None]) -> Path | None:
        try:
            return how()
        finally:
            self._copy.release()

    def _keep(self) -> Path | None:
        if not self._shared:
            self._copy.mark_clean()
        elif self._copy.usable:
            self._copy.touch()
        else:  # another reader has discarded it meanwhile; the last one deletes it
            return self._copy.evict()
        return None

    def _evict(self) -> Path | None:
        self._copy.mark_dirty()
        return self._copy.evict()


async def on_disk(work: Callable[[], T], doing: str, *, discard: Callable[[T], None] | None = None) -> T:
    """Looks at copies in a thread. Raises OSError, also when the disk hangs."""
    return await run_blocking(work, limit=DISK_TIME, doing=doing, grace=GRACE, discard=discard)
