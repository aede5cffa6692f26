"""FakeCaches: cache folders below one folder, and their leases."""

from __future__ import annotations

import asyncio
import re
import shutil
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.interfaces.caches import CacheFolder, Caches, CacheUsage, Lease
from taskrunner.limits import CACHE_HINT, CACHE_PATTERN

NAME = re.compile(CACHE_PATTERN)


class FakeCacheFolder(CacheFolder):
    """A plain folder."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path

    async def usage(self) -> CacheUsage:
        found = [path.lstat() for path in self.path.rglob("*")]
        return CacheUsage(sum(each.st_size for each in found if stat.S_ISREG(each.st_mode)), len(found))

    async def delete(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class FakeLease(Lease):
    """A lease that records how it ended: `committed` or `discarded`."""

    folder: FakeCacheFolder

    def __init__(self, caches: FakeCaches, folder: FakeCacheFolder, *, shared: bool) -> None:
        self.folder, self.shared, self.ended = folder, shared, ""
        self._caches = caches

    async def commit(self) -> None:
        await self._end("committed")

    async def discard(self) -> None:
        await self._end("discarded")

    async def _end(self, how: str) -> None:
        if not self.ended:
            self.ended = how
            await self._caches.lease_ended(self)


class FakeCaches(Caches):
    """Caches in a folder of the test. `leases` has every lease, and how it ended.

    `leased` has the leases that have not ended: a test asserts that it is empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.leases: list[FakeLease] = []
        self._copies: list[FakeCacheFolder] = []
        self._discarded: set[FakeCacheFolder] = set()
        self._filling: dict[str, asyncio.Lock] = {}
        self._made = 0

    @property
    def leased(self) -> list[FakeLease]:
        return [lease for lease in self.leases if not lease.ended]

    async def exclusive(self, name: str) -> FakeLease:
        return self._lease(name, shared=False)

    async def shared(self, name: str) -> FakeLease:
        return self._lease(name, shared=True)

    @asynccontextmanager
    async def filling(self, name: str) -> AsyncIterator[None]:
        _check(name)
        async with self._filling.setdefault(name, asyncio.Lock()):
            yield

    async def lease_ended(self, lease: FakeLease) -> None:
        """Called by a lease that ends: its folder is leased first next time, or deleted if it was discarded."""
        folder = lease.folder
        if lease.ended == "discarded":
            self._discarded.add(folder)
        if folder in self._copies:
            self._copies.remove(folder)
        if folder not in self._discarded:
            self._copies.insert(0, folder)
        elif not any(other.folder is folder for other in self.leased):
            await folder.delete()

    def _lease(self, name: str, *, shared: bool) -> FakeLease:
        _check(name)
        free = (copy for copy in self._copies if copy.name == name and self._is_free(copy, shared=shared))
        lease = FakeLease(self, next(free, None) or self._make(name), shared=shared)
        self.leases.append(lease)
        return lease

    def _is_free(self, folder: FakeCacheFolder, *, shared: bool) -> bool:
        if folder in self._discarded:
            return False
        return all(shared and other.shared for other in self.leased if other.folder is folder)

    def _make(self, name: str) -> FakeCacheFolder:
        self._made += 1
        path = self.folder / f"{name}.{self._made}"
        path.mkdir(parents=True)
        folder = FakeCacheFolder(name, path)
        self._copies.append(folder)
        return folder


def _check(name: str) -> None:
    if not NAME.fullmatch(name):
        raise MalformedPayload(Complaint("caches", f"{name[:200]!r} cannot be the name of a cache", CACHE_HINT))


__all__ = ["FakeCacheFolder", "FakeCaches", "FakeLease"]
