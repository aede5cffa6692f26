"""A task that mounts something in its folder: nothing in it is removed. The worker is root."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskrunner.errors import TaskFailedInternally
from taskrunner.files import mounts
from taskrunner.files.untrusted import MOUNTED, remove_folder
from tests.process.process_bench import KINDS, bench_on


@pytest.fixture
def precious(tmp_path: Path) -> Iterator[Path]:
    """A folder of the machine."""
    folder = tmp_path / "precious"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/file").write_text("not the task's")
    yield folder
    for point in mounts.mounts_below(tmp_path):
        subprocess.run(["umount", "--lazy", point], check=True)
    assert (folder / "deep/file").read_text() == "not the task's"


@pytest.mark.parametrize(
    "script",
    [
        "mkdir m; mount --bind {precious} m",
        "mkdir -p a/b/c; mount --bind {precious} a/b/c",
        "mkdir -p 'a b'; mount --bind {precious} 'a b'; mount -t tmpfs taskrunner-test 'a b/deep'",
        "mkdir m; mount --bind {precious} m; mount --bind {precious} m",
        "mount --bind {precious} $PWD",
        "touch f; mount --bind {precious}/deep/file f",
        "mkdir m; mount --bind {precious} m; (setsid sh -c 'cd m; exec sleep 1000000' &)",
    ],
)
def test_what_a_task_has_mounted_is_unmounted_before_its_folder_is_removed(
    tmp_path: Path, precious: Path, script: str
) -> None:
    async def run() -> str:
        async with bench_on(KINDS[0], tmp_path) as bench:
            results = await bench.shell(script.format(precious=precious))
            assert results.exit_code == 0, bench.text
            await results.dispose()
            assert list(bench.folder.iterdir()) == []
            return bench.text

    text = asyncio.run(run())
    assert text.count("which the task has mounted") == script.count("mount -")
    assert mounts.mounts_below(tmp_path) == []


def test_a_mount_in_a_cache_is_unmounted_too(tmp_path: Path, precious: Path) -> None:
    async def run() -> None:
        async with bench_on(KINDS[0], tmp_path) as bench:
            (tmp_path / "kept").mkdir()
            engine = await bench.engine("sh", "-c", f"mkdir cache/m; mount --bind {precious} cache/m")
            cache = bench.platform.new_cache_folder("kept", tmp_path / "kept")
            await engine.attach_cache(cache, "cache")
            await (await (await engine.start({})).wait()).dispose()
            assert "which the task has mounted" in bench.text
            await cache.delete()

    asyncio.run(run())
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("place", ["m", "."])
def test_a_mount_that_stays_is_told_as_a_leak_and_not_emptied(
    tmp_path: Path, precious: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> None:
        raise OSError(1, "Operation not permitted")

    async def run() -> str:
        async with bench_on(KINDS[0], tmp_path) as bench:
            monkeypatch.setattr(mounts, "_umount", refuse)
            results = await bench.shell(f"mkdir m other; mount --bind {precious} {place}")
            with pytest.raises(TaskFailedInternally, match=MOUNTED) as caught:
                await results.dispose()
            assert "cannot be unmounted: Operation not permitted" in bench.text
            return str(caught.value)

    message = asyncio.run(run())
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("name", ["plain", "with space", "tab\tand\nline", "back\\slash", "ümlaut"])
def test_mounts_are_found_by_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    (folder / name).mkdir(parents=True)
    assert mounts.mounts_below(folder) == []
    subprocess.run(["mount", "-t", "tmpfs", "taskrunner-test", folder / name], check=True)
    try:
        assert mounts.mounts_below(folder) == [folder / name]
        assert mounts.mounts_below(tmp_path / name[:1]) == []
    finally:
        subprocess.run(["umount", folder / name], check=True)


def test_a_change_of_the_mounts_is_counted(tmp_path: Path) -> None:
    changes = mounts.MountChanges()
    before = changes.count()
    assert changes.count() >= before
    subprocess.run(["mount", "-t", "tmpfs", "taskrunner-test", tmp_path], check=True)
    mounted = changes.count()
    assert mounted > before
    subprocess.run(["umount", tmp_path], check=True)
    assert changes.count() > mounted


def test_a_folder_of_many_folders_is_still_removed(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    for number in range(300):
        (folder / f"a{number}" / "b" / "c").mkdir(parents=True)
    assert remove_folder(folder) == []
