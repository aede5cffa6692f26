"""A cache is reused after a clean end, shared safely, and never after a kill."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from taskrunner.caches.folder_caches import FolderCaches
from taskrunner.caches.selection import choosing
from taskrunner.errors import MalformedPayload, NotSupported, TaskFailedInternally
from taskrunner.interfaces.caches import CacheFolder, Lease
from taskrunner.testing import FakeCacheFolder
from tests.support.killed import run_until_ready_and_kill


def caches(root: Path) -> FolderCaches:
    return FolderCaches(root, FakeCacheFolder)


def fill(lease: Lease, text: str) -> None:
    (lease.folder.path / "file").write_text(text)


def content(lease: Lease) -> str | None:
    path = lease.folder.path / "file"
    return path.read_text() if path.exists() else None


def on_disk(root: Path, name: str = "npm") -> list[str]:
    return sorted(path.name for path in (root / name).iterdir() if path.name != "choosing")


async def kept(root: Path, text: str, name: str = "npm") -> None:
    lease = await caches(root).exclusive(name)
    fill(lease, text)
    await lease.commit()


Scene = Callable[[], Coroutine[None, None, None]]


def play(scene: Scene) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await scene()

    asyncio.run(limited())


def test_a_committed_cache_is_found_again_also_by_another_worker(tmp_path: Path) -> None:
    async def scene() -> None:
        await kept(tmp_path, "good")
        lease = await caches(tmp_path).exclusive("npm")
        assert content(lease) == "good"
        assert lease.folder.name == "npm"
        await lease.commit()
        await lease.commit()
        await lease.discard()
        assert on_disk(tmp_path) == ["1", "1.lock"]

    play(scene)


def test_a_discarded_cache_is_deleted_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        await kept(tmp_path, "good")
        lease = await caches(tmp_path).exclusive("npm")
        await lease.discard()
        assert on_disk(tmp_path) == []
        await lease.commit()
        assert on_disk(tmp_path) == []
        assert content(await caches(tmp_path).exclusive("npm")) is None

    play(scene)


def test_two_runs_at_once_have_two_copies_and_the_newest_is_taken_first(tmp_path: Path) -> None:
    async def scene() -> None:
        first, second = await caches(tmp_path).exclusive("npm"), await caches(tmp_path).exclusive("npm")
        assert first.folder.path != second.folder.path
        fill(first, "first")
        fill(second, "second")
        await second.commit()
        await first.commit()
        os.utime(tmp_path / "npm/2.lock", (1, 1))  # clocks may be too coarse to tell them apart
        newest, other = await caches(tmp_path).exclusive("npm"), await caches(tmp_path).exclusive("npm")
        assert (content(newest), content(other)) == ("first", "second")

    play(scene)


def test_readers_share_one_copy_and_a_writer_gets_another(tmp_path: Path) -> None:
    async def scene() -> None:
        await kept(tmp_path, "good")
        one, two = await caches(tmp_path).shared("npm"), await caches(tmp_path).shared("npm")
        assert one.folder.path == two.folder.path
        writer = await caches(tmp_path).exclusive("npm")
        assert writer.folder.path != one.folder.path
        await one.commit()
        await two.commit()
        await writer.discard()
        assert content(await caches(tmp_path).exclusive("npm")) == "good"

    play(scene)


def test_a_discarded_shared_copy_is_deleted_after_its_last_reader(tmp_path: Path) -> None:
    async def scene() -> None:
        await kept(tmp_path, "bad")
        one, two = await caches(tmp_path).shared("npm"), await caches(tmp_path).shared("npm")
        await one.discard()
        assert content(two) == "bad"
        three = await caches(tmp_path).shared("npm")
        assert content(three) is None
        await two.commit()
        assert on_disk(tmp_path) == ["2", "2.lock"]
        await three.commit()

    play(scene)


def test_a_copy_whose_worker_was_killed_is_never_used_again(tmp_path: Path) -> None:
    code = """
        import asyncio, sys, pathlib, time
        from tests.caches.test_caches import caches, fill
        async def main():
            lease = await caches(pathlib.Path(sys.argv[1])).exclusive("npm")
            fill(lease, "half")
            print("ready", flush=True)
            time.sleep(600)
        asyncio.run(main())
    """

    async def scene() -> None:
        await kept(tmp_path, "good")
        await asyncio.to_thread(run_until_ready_and_kill, code, tmp_path)
        assert (tmp_path / "npm/1/file").read_text() == "half"
        lease = await caches(tmp_path).exclusive("npm")
        assert content(lease) is None
        assert on_disk(tmp_path) == ["2", "2.dirty", "2.lock"]

    play(scene)


def test_a_copy_whose_reader_was_killed_stays_clean(tmp_path: Path) -> None:
    code = """
        import asyncio, sys, pathlib, time
        from tests.caches.test_caches import caches
        async def main():
            lease = await caches(pathlib.Path(sys.argv[1])).shared("npm")
            print("ready", flush=True)
            time.sleep(600)
        asyncio.run(main())
    """

    async def scene() -> None:
        await kept(tmp_path, "good")
        await asyncio.to_thread(run_until_ready_and_kill, code, tmp_path)
        assert content(await caches(tmp_path).exclusive("npm")) == "good"

    play(scene)


def test_two_workers_fill_a_cache_one_after_the_other(tmp_path: Path) -> None:
    async def scene() -> None:
        downloads: list[str] = []

        async def fetch(worker: str) -> None:
            mine = caches(tmp_path)
            async with mine.filling("archive"):
                lease = await mine.exclusive("archive")
                if content(lease) is None:
                    downloads.append(worker)
                    fill(lease, "downloaded")
                await lease.commit()

        await asyncio.gather(*(fetch(f"w{number}") for number in range(3)))
        assert len(downloads) == 1
        assert on_disk(tmp_path, "archive") == ["1", "1.lock", "filling"]

    play(scene)


def test_a_worker_that_is_killed_while_it_fills_lets_the_next_one_in(tmp_path: Path) -> None:
    code = """
        import asyncio, sys, pathlib, time
        from tests.caches.test_caches import caches
        async def main():
            async with caches(pathlib.Path(sys.argv[1])).filling("npm"):
                print("ready", flush=True)
                time.sleep(600)
        asyncio.run(main())
    """

    async def scene() -> None:
        await asyncio.to_thread(run_until_ready_and_kill, code, tmp_path)
        async with caches(tmp_path).filling("npm"):
            assert on_disk(tmp_path) == ["filling"]

    play(scene)


def test_one_that_gives_up_waiting_holds_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        waiting = caches(tmp_path)
        async with caches(tmp_path).filling("npm"):
            enter = asyncio.create_task(waiting.filling("npm").__aenter__())
            await asyncio.wait([enter], timeout=0.01)
            enter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await enter
        async with waiting.filling("npm"):
            pass

    play(scene)


def test_many_workers_at_once_never_share_a_copy(tmp_path: Path) -> None:
    async def use(number: int) -> None:
        lease = await caches(tmp_path).exclusive("npm")
        path = lease.folder.path / "user"
        path.touch(exist_ok=False)
        await asyncio.sleep(0)
        path.unlink()
        await (lease.discard() if number % 3 == 0 else lease.commit())

    async def scene() -> None:
        await asyncio.gather(*map(use, range(100)))

    play(scene)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\n", "é", "x" * 129])
def test_bad_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MalformedPayload):
        asyncio.run(caches(tmp_path).exclusive(name))
    with pytest.raises(MalformedPayload):
        asyncio.run(caches(tmp_path).shared(name))


def test_files_of_another_origin_are_ignored(tmp_path: Path) -> None:
    async def scene() -> None:
        await kept(tmp_path, "good")
        place = tmp_path / "npm"
        (tmp_path / "a file").touch()
        (place / "x.lock").touch()
        (place / "07").mkdir()
        (place / "8.lock").touch()  # a copy without its folder
        (place / "9.lock").touch()
        (place / "9").symlink_to("/etc")
        (place / "10.lock").touch()
        (place / "10").write_text("a file")
        lease = await caches(tmp_path).exclusive("npm")
        assert content(lease) == "good"
        await lease.commit()
        await caches(tmp_path).trim()
        assert on_disk(tmp_path) == ["07", "1", "1.lock", "x.lock"]

    play(scene)
    assert Path("/etc").is_dir()


def test_an_error_of_the_disk_is_not_the_author_s_fault(tmp_path: Path) -> None:
    (tmp_path / "npm").write_text("in the way")
    with pytest.raises(TaskFailedInternally, match="npm"):
        asyncio.run(caches(tmp_path).exclusive("npm"))


def test_a_platform_without_caches_leaves_no_copy_locked(tmp_path: Path) -> None:
    def refuse(name: str, path: Path) -> CacheFolder:
        raise NotSupported("no caches")

    with pytest.raises(NotSupported):
        asyncio.run(FolderCaches(tmp_path, refuse).exclusive("npm"))
    assert on_disk(tmp_path) == ["1", "1.lock"]
    play(lambda: kept(tmp_path, "free"))


@pytest.mark.parametrize("cancellations", [1, 2])
def test_a_cancelled_request_locks_nothing_and_marks_nothing_dirty(tmp_path: Path, cancellations: int) -> None:
    """It waits for its thread, which must not lease the copy behind its back."""

    async def scene() -> None:
        await kept(tmp_path, "good")
        waiting, go_on = threading.Event(), threading.Event()
        choosing = asyncio.create_task(asyncio.to_thread(choose_until, tmp_path / "npm", waiting, go_on))
        await asyncio.to_thread(waiting.wait)
        request = asyncio.create_task(caches(tmp_path).exclusive("npm"))
        for _ in range(cancellations):
            await asyncio.sleep(0)
            request.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        waits = not request.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await request
        await choosing
        assert waits
        assert content(await caches(tmp_path).exclusive("npm")) == "good"

    play(scene)


def choose_until(place: Path, waiting: threading.Event, go_on: threading.Event) -> None:
    with choosing(place):
        waiting.set()
        go_on.wait()


def test_trim_deletes_the_least_recently_used_copies_without_a_lease(small_disk: Path) -> None:
    names = ("newest", "leased", "old", "oldest")

    async def scene() -> None:
        for age, name in enumerate(names):
            await kept(small_disk, "x" * 8192, name)
            os.utime(small_disk / name / "1.lock", (1000 - age, 1000 - age))
        lease = await caches(small_disk).shared("leased")
        os.utime(small_disk / "leased/1.lock", (1, 1))
        free = shutil.disk_usage(small_disk).free
        assert await caches(small_disk).trim(min_free=free) == 0
        assert await caches(small_disk).trim(min_free=free + 10_000) == 2
        assert [name for name in names if on_disk(small_disk, name)] == ["newest", "leased"]
        assert await caches(small_disk).trim(min_free=1 << 60) == 1
        await lease.commit()
        assert await caches(small_disk).trim(min_free=1 << 60) == 1
        assert await caches(small_disk / "none").trim(min_free=1 << 60) == 0

    play(scene)


def test_trim_deletes_copies_that_were_not_used_for_a_time(tmp_path: Path) -> None:
    async def scene() -> None:
        for name in ("new", "leased", "old"):
            await kept(tmp_path, "x", name)
        lease = await caches(tmp_path).exclusive("leased")
        for name in ("leased", "old"):
            os.utime(tmp_path / name / "1.lock", (1, 1))
        assert await caches(tmp_path).trim(max_age=3600, dry_run=True) == 1
        assert on_disk(tmp_path, "old") == ["1", "1.lock"]
        assert await caches(tmp_path).trim(max_age=3600) == 1
        assert [on_disk(tmp_path, name) for name in ("old", "new")] == [[], ["1", "1.lock"]]
        await lease.commit()
        assert await caches(tmp_path).trim(max_age=3600) == 0

    play(scene)


def test_trim_deletes_the_least_recently_used_copies_above_a_size(tmp_path: Path) -> None:
    async def scene() -> None:
        for age, name in enumerate(("newest", "old", "oldest")):
            await kept(tmp_path, "x" * 8192, name)
            os.utime(tmp_path / name / "1.lock", (1000 - age, 1000 - age))
        size = (await FakeCacheFolder("newest", tmp_path / "newest/1").usage()).size
        assert await caches(tmp_path).trim(max_bytes=3 * size) == 0
        assert await caches(tmp_path).trim(max_bytes=3 * size - 1, dry_run=True) == 1
        assert await caches(tmp_path).trim(max_bytes=3 * size - 1) == 1
        assert [name for name in ("newest", "old", "oldest") if on_disk(tmp_path, name)] == ["newest", "old"]
        assert await caches(tmp_path).trim(max_bytes=0) == 2

    play(scene)


def test_trim_deletes_what_dead_workers_have_left(tmp_path: Path) -> None:
    async def scene() -> None:
        for name in ("one", "two"):
            await kept(tmp_path, "x", name)
        (tmp_path / "one/1.dirty").touch()
        (tmp_path / "two/7.gone-abcd").mkdir()
        assert await caches(tmp_path).trim() == 0
        assert on_disk(tmp_path, "one") == []
        assert on_disk(tmp_path, "two") == ["1", "1.lock"]

    play(scene)
