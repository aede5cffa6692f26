"""CacheFolderConformance and CachesConformance: what every cache folder does, and every implementation of leases."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from taskrunner.errors import MalformedPayload
from taskrunner.interfaces.caches import CacheFolder, Caches
from taskrunner.testing.conformance.kit import ConformanceKit

LIMIT = 60.0
"""Seconds of one test, which makes a few small files."""


class CacheFolderConformance(ConformanceKit, ABC):
    """The contract of CacheFolder."""

    limit = LIMIT

    @abstractmethod
    def cache_folder(self, name: str, path: Path) -> CacheFolder:
        """A cache folder at `path`, which exists and is empty: what `Platform.new_cache_folder` returns."""

    def test_it_knows_its_name_and_place(self, tmp_path: Path) -> None:
        folder = self.cache_folder("some", tmp_path)
        assert (folder.name, folder.path) == ("some", tmp_path)

    def test_its_size_is_that_of_its_files_or_a_little_more(self, tmp_path: Path) -> None:
        folder = self._filled(tmp_path)

        async def main() -> None:
            usage = await folder.usage()
            assert 5003 <= usage.size < 100_000
            assert usage.inodes == 3, "two files and a folder"

        self.bounded(main())

    def test_it_is_gone_once_deleted(self, tmp_path: Path) -> None:
        path = tmp_path / "cache"
        path.mkdir()
        folder = self._filled(path)
        self.bounded(folder.delete())
        assert not path.exists() or not any(path.iterdir())
        self.bounded(folder.delete())

    def test_a_link_to_somewhere_else_is_deleted_as_a_link(self, tmp_path: Path) -> None:
        path, other = tmp_path / "cache", tmp_path / "other"
        for folder in (path, other):
            folder.mkdir()
        (other / "precious").write_bytes(b"")
        cache = self._filled(path)
        (path / "link").symlink_to(other)

        async def main() -> None:
            assert (await cache.usage()).size < 100_000
            await cache.delete()

        self.bounded(main())
        assert (other / "precious").exists()

    def _filled(self, path: Path) -> CacheFolder:
        (path / "deep").mkdir()
        (path / "a").write_bytes(bytes(5000))
        (path / "deep" / "b").write_bytes(b"bee")
        return self.checker.wrap(self.cache_folder("some", path), CacheFolder)


BAD_NAMES = ("", "/", "a/b", "../a", "a b", "ä", "a\n", "a\0", "x" * 129)
"""What `limits.CACHE_PATTERN` does not allow."""


class CachesConformance(ConformanceKit, ABC):
    """The contract of Caches. The tests recognize a folder by a file that they create in it."""

    limit = LIMIT

    @abstractmethod
    def caches(self, home: Path) -> Caches:
        """All caches below `home`, which exists and is empty the first time."""

    def test_a_new_cache_is_empty(self, tmp_path: Path) -> None:
        async def main() -> None:
            caches = self._checked(tmp_path)
            for lease in (await caches.exclusive("one"), await caches.shared("two")):
                assert list(lease.folder.path.iterdir()) == []
                await lease.commit()

        self.bounded(main())

    def test_a_committed_folder_is_leased_again(self, tmp_path: Path) -> None:
        async def main() -> None:
            caches = self._checked(tmp_path)
            await _leave(caches, "some", "first")
            await _leave(caches, "other", "second")
            lease = await caches.exclusive("some")
            assert _marks(lease.folder) == ["first"]
            await lease.commit()

        self.bounded(main())

    def test_a_discarded_folder_is_deleted(self, tmp_path: Path) -> None:
        async def main() -> None:
            caches = self._checked(tmp_path)
            await _leave(caches, "some", "first")
            lease = await caches.exclusive("some")
            path = lease.folder.path
            await lease.discard()
            assert not path.exists() or not any(path.iterdir())
            again = await caches.exclusive("some")
            assert _marks(again.folder) == []
            await again.commit()

        self.bounded(main())

    def test_two_exclusive_leases_have_two_folders(self, tmp_path: Path) -> None:
        async def main() -> None:
            caches = self._checked(tmp_path)
            leases = await asyncio.gather(*(caches.exclusive("some") for _ in range(3)))
            assert len({lease.folder.path for lease in leases}) == 3
            for lease in leases:
                await lease.commit()

        self.bounded(main())

    def test_the_most_recently_used_copy_is_leased_first(self, tmp_path: Path) -> None:
        async def main() -> None:
            caches = self._checked(tmp_path)
            leases = {mark: await caches.exclusive("some") for mark in ("a", "b", "c")}
            for mark in ("c", "a", "b"):
                (leases[mark].folder.path / mark).touch()
                await leases[mark].commit()
            again = [await caches.exclusive("some") for _ in range(3)]
            assert [_marks(lease.folder) for lease in again] == [["b"], ["a"], ["c"]]
            for lease in again:
                await lease.commit()

        self.bounded(main())

    def test_readers_share_one_folder_and_a_writer_gets_another(self, tmp_path: Path) -> None:
        async def main() -> None:
            caches = self._checked(tmp_path)
            await _leave(caches, "some", "first")
            readers = [await caches.shared("some") for _ in range(2)]
            writer = await caches.exclusive("some")
            assert readers[0].folder.path == readers[1].folder.path != writer.folder.path
            assert _marks(readers[0].folder) == ["first"]
            late = await caches.shared("some")
            assert late.folder.path == readers[0].folder.path
            for lease in (*readers, writer, late):
                await lease.commit()

        self.bounded(main())

    def test_a_discarded_folder_stays_for_its_readers(self, tmp_path: Path) -> None:
        async def main() -> None:
            caches = self._checked(tmp_path)
            await _leave(caches, "some", "first")
            one, two = [await caches.shared("some") for _ in range(2)]
            await one.discard()
            assert _marks(two.folder) == ["first"]
            newcomer = await caches.shared("some")
            assert _marks(newcomer.folder) == []
            await two.commit()
            assert not two.folder.path.exists() or _marks(two.folder) == []
            await newcomer.commit()

        self.bounded(main())

    def test_a_lease_ends_once(self, tmp_path: Path) -> None:
        async def main() -> None:
            caches = self._checked(tmp_path)
            lease = await caches.exclusive("some")
            (lease.folder.path / "first").touch()
            await lease.commit()
            await lease.discard()
            await lease.commit()
            again = await caches.exclusive("some")
            assert _marks(again.folder) == ["first"], "a second call does nothing, discard after commit too"
            await again.discard()
            await again.commit()
            fresh = await caches.exclusive("some")
            assert _marks(fresh.folder) == [], "a second call does nothing, commit after discard too"
            await fresh.commit()

        self.bounded(main())

    def test_a_cache_is_filled_by_one_at_a_time(self, tmp_path: Path) -> None:
        async def main() -> None:
            caches, steps = self._checked(tmp_path), list[str]()

            async def fill(who: str) -> None:
                async with caches.filling("some"):
                    steps.append(who)
                    for _ in range(3):
                        await (await caches.exclusive("some")).commit()
                    steps.append(who)

            async with caches.filling("other"):
                await asyncio.gather(*map(fill, "abc"))
            assert steps[::2] == steps[1::2], "two callers were inside at once"
            assert sorted(steps) == ["a", "a", "b", "b", "c", "c"]

        self.bounded(main())

    def test_a_bad_name_is_refused(self, tmp_path: Path) -> None:
        async def main() -> None:
            caches = self._checked(tmp_path)
            for name in BAD_NAMES:
                for lease in (caches.exclusive, caches.shared):
                    with pytest.raises(MalformedPayload):
                        await lease(name)
                with pytest.raises(MalformedPayload):
                    async with caches.filling(name):
                        pass

        self.bounded(main())

    def test_no_name_leads_out_of_the_home(self, tmp_path: Path) -> None:
        async def main() -> None:
            home = tmp_path / "home"
            home.mkdir()
            caches = self._checked(home)
            for name in (".", ".."):
                try:
                    lease = await caches.exclusive(name)
                except MalformedPayload:
                    continue
                assert home.resolve() in lease.folder.path.resolve().parents
                await lease.discard()
            assert _names(tmp_path) == ["home"]

        self.bounded(main())

    def _checked(self, home: Path) -> Caches:
        return self.checker.wrap(self.caches(home), Caches)


async def _leave(caches: Caches, name: str, mark: str) -> None:
    lease = await caches.exclusive(name)
    (lease.folder.path / mark).touch()
    await lease.commit()


def _marks(folder: CacheFolder) -> list[str]:
    return _names(folder.path)


def _names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


__all__ = ["BAD_NAMES", "CacheFolderConformance", "CachesConformance"]
