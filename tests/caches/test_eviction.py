"""All caches of a home together stay within limits: the least recently used go first, one in use never."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import attrs
import pytest

from taskrunner.caches.eviction import ENGINES, Eviction
from taskrunner.caches.folder_caches import FolderCaches, MakeFolder
from taskrunner.files.plain_folder import PlainFolder
from taskrunner.interfaces.caches import CacheFolder, CacheLimits, CacheUsage, Lease

MIB = 1 << 20


@attrs.define
class Home:
    """A home whose cache folders note how often they are measured, and by which platform they are deleted."""

    path: Path
    measured: list[str] = attrs.field(factory=list)
    deleted: list[str] = attrs.field(factory=list)

    def caches(self, platform: str) -> FolderCaches:
        root = self.path / "caches" / platform if platform else self.path / "engine-caches"
        return FolderCaches(root, PlainFolder)

    async def keep(self, platform: str, name: str, files: int = 1) -> None:
        """A cache of one MiB in so many files."""
        lease = await self.caches(platform).exclusive(name)
        fill(lease, files)
        await lease.commit()

    def eviction(self, limits: CacheLimits) -> Eviction:
        return Eviction(self.path, limits, self.folder_of)

    def folder_of(self, platform: str) -> MakeFolder:
        def make(name: str, path: Path) -> CacheFolder:
            return Watched(self, platform, name, path)

        return make

    def names(self) -> list[str]:
        return sorted(path.parent.name for path in self.path.glob("**/1") if path.is_dir())


class Watched(PlainFolder):
    def __init__(self, home: Home, platform: str, name: str, path: Path) -> None:
        super().__init__(name, path)
        self.home, self.platform = home, platform

    async def usage(self) -> CacheUsage:
        self.home.measured.append(self.name)
        return await super().usage()

    async def delete(self) -> None:
        self.home.deleted.append(f"{self.platform}/{self.name}")
        await super().delete()


def fill(lease: Lease, files: int) -> None:
    for number in range(files):
        (lease.folder.path / str(number)).write_bytes(bytes(MIB // files))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def play(scene: Callable[[], Coroutine[None, None, None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await scene()

    asyncio.run(limited())


async def three(home: Home) -> None:
    """The first one used is a mirror of an engine, the last one a cache of a platform that is not open."""
    await home.keep(ENGINES, "mirror")
    await home.keep("docker", "npm", files=100)
    await home.keep("closed", "pip")


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        (CacheLimits(), ["mirror", "npm", "pip"]),
        (CacheLimits(max_size=4 * MIB, max_inodes=1000), ["mirror", "npm", "pip"]),
        (CacheLimits(max_size=2 * MIB + MIB // 2), ["npm", "pip"]),
        (CacheLimits(max_size=MIB + MIB // 2), ["pip"]),
        (CacheLimits(max_inodes=100), ["pip"]),
        (CacheLimits(max_inodes=101), ["npm", "pip"]),
        (CacheLimits(max_size=0), []),
        (CacheLimits(min_free=1 << 60), []),
    ],
)
def test_the_least_recently_used_of_all_platforms_goes_first(home: Home, limits: CacheLimits, left: list[str]) -> None:
    async def scene() -> None:
        await three(home)
        assert await home.eviction(limits).run(dry_run=True) == 3 - len(left)
        assert home.names() == ["mirror", "npm", "pip"]
        assert await home.eviction(limits).run() == 3 - len(left)
        assert home.names() == left

    play(scene)


def test_a_cache_in_use_stays_and_the_next_one_goes(home: Home) -> None:
    async def scene() -> None:
        await three(home)
        lease = await home.caches(ENGINES).exclusive("mirror")
        assert await home.eviction(CacheLimits(max_size=0)).run() == 2
        assert home.names() == ["mirror"]
        assert home.deleted == ["docker/npm", "closed/pip"]
        await lease.commit()
        assert await home.eviction(CacheLimits(max_size=0)).run() == 1

    play(scene)


def test_a_cache_is_measured_again_only_when_it_was_used(home: Home) -> None:
    async def scene() -> None:
        await three(home)
        eviction = home.eviction(CacheLimits(max_size=100 * MIB))
        await eviction.run()
        await eviction.run()
        assert home.measured == ["mirror", "npm", "pip"]
        await home.keep("docker", "npm", files=5)
        await eviction.run()
        assert home.measured == ["mirror", "npm", "pip", "npm"]

    play(scene)


def test_two_evictions_at_once_evict_no_more_than_is_needed(home: Home) -> None:
    async def scene() -> None:
        await three(home)
        eviction = home.eviction(CacheLimits(max_size=MIB + MIB // 2))
        assert sorted(await asyncio.gather(eviction.run(), eviction.run())) == [0, 2]
        assert home.names() == ["pip"]

    play(scene)
