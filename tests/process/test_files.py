"""Which files of a run become artifacts, how its folder is removed, and how a cache is attached."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskrunner.errors import MalformedPayload, TaskFailedInternally
from taskrunner.files.plain_folder import PlainFolder
from taskrunner.model import CacheSpec
from taskrunner.testing.conformance.platform.harness import joined
from tests.process.process_bench import KINDS, Bench, bench_on, contents

BEST = KINDS[0]


async def names(bench: Bench, script: str, folder: str) -> list[str]:
    results = await bench.shell(script)
    return [entry.name async for entry in results.archive_folder(folder)]


def test_only_regular_files_leave_a_folder(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            script = """
                mkdir -p out/sub; cd out; echo a > a; echo b > sub/b; mkfifo pipe; mknod null c 1 3
                ln -s a inside; ln -s sub folder; ln -s /etc/passwd leaves; ln -s nothing broken; ln -s loop loop
                ln -s ../../.. up; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'
                touch "$(printf 'bad\\377')"
            """
            assert await names(bench, script, "out") == ["a", "inside", "sub/b"]
            for name, why in (
                ("pipe", "named pipe"),
                ("null", "device"),
                ("sock", "socket"),
                ("leaves", "leads out of the run's folder"),
                ("up", "leads out of the run's folder"),
                ("folder", "folder behind a link"),
                ("broken", "No such file"),
                ("bad\ufffd", "not UTF-8"),
            ):
                assert any(repr(name) in line and why in line for line in bench.text.splitlines()), name
            assert "'loop'" in bench.text

    asyncio.run(run())


def test_a_single_file_follows_the_same_rules(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            results = await bench.shell("mkdir out; echo a > out/a; ln -s out/a in; ln -s / root; mkfifo pipe")
            assert await contents(results, "in") == b"a\n"
            assert await contents(results, str(bench.folder / "out/a")) == b"a\n"
            for path in ("root/etc/passwd", "../../etc/passwd", "/etc/passwd", "out/../../x"):
                with pytest.raises(PermissionError):
                    await results.archive_file(path)
            for path in ("missing", "pipe", "a\0b"):
                with pytest.raises(FileNotFoundError):
                    await results.archive_file(path)
            entry = await results.archive_file("out/a")
            (bench.folder / "out/a").unlink()
            with pytest.raises(TaskFailedInternally, match="a could not be read"):
                await joined(entry.read())

    asyncio.run(run())


def test_a_path_that_no_file_can_have_is_not_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            results = await bench.shell("ln -s loop loop; ln -s loop/x behind; echo a > file")
            for path in ("loop", "loop/x", "behind", "file/x", "x" * 256, f"file/{'x' * 256}"):
                with pytest.raises(FileNotFoundError):
                    await results.archive_file(path)
                with pytest.raises((FileNotFoundError, NotADirectoryError)):
                    await anext(aiter(results.archive_folder(path)))
                with pytest.raises((FileNotFoundError, NotADirectoryError)):
                    await results.archive(path)

    asyncio.run(run())


def test_a_folder_that_is_swapped_for_a_link_is_not_followed(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            results = await bench.shell("mkdir out; echo mine > out/passwd")
            entry = await results.archive_file("out/passwd")
            (bench.folder / "out").rename(bench.folder / "old")
            (bench.folder / "out").symlink_to("/etc")
            with pytest.raises(TaskFailedInternally):
                await joined(entry.read())

    asyncio.run(run())


NESTED = "import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')\nopen('deep', 'w').close()"


def test_a_folder_is_emptied_whatever_is_in_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            results = await bench.shell(
                f'{sys.executable} -c "{NESTED}"; mkdir -m 0 shut; ln -s {outside} link; mkfifo p'
            )
            assert results.exit_code == 0
            assert [entry.name async for entry in results.archive_folder("")] == []
            await results.dispose()
            assert list(bench.folder.iterdir()) == []
            assert list(outside.iterdir()) == [outside / "kept"]
            await results.dispose()
            bench.folder.rmdir()
            await results.dispose()

    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    asyncio.run(run())


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A folder that cannot be removed, not even by root."""
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            results = await bench.shell("mkdir -p a/held; touch a/b")
            with mounted(bench.folder / "a/held"), pytest.raises(TaskFailedInternally, match="a/held: "):
                await results.dispose()
            await results.dispose()
            assert list(bench.folder.iterdir()) == []

    asyncio.run(run())


def test_a_cache_is_attached_at_its_path_and_outlives_the_run(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            (tmp_path / "kept").mkdir()
            folder = bench.platform.new_cache_folder("kept", tmp_path / "kept")
            engine = await bench.engine("sh", "-c", "echo 1 > deep/er/cache/file; cp deep/er/cache/file copy")
            await engine.attach_cache(folder, "deep/er/cache")
            results = await (await engine.start({})).wait()
            with pytest.raises(PermissionError):  # it is no longer the run's alone
                await results.archive_file("deep/er/cache/file")
            assert await contents(results, "copy") == b"1\n"
            await results.dispose()
            assert (tmp_path / "kept/file").read_text() == "1\n"

    asyncio.run(run())


def test_a_cache_is_attached_below_the_run_s_folder_only(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            targets = ("good", "/etc/x", ".", ".tmp/x", "good", "good/inner")
            specs = tuple(CacheSpec(f"c{i}", path) for i, path in enumerate(targets))
            engine = await bench.engine("true", caches=specs)
            (tmp_path / "kept").mkdir()
            folder = bench.platform.new_cache_folder("kept", tmp_path / "kept")
            await engine.attach_cache(folder, "good")
            for index, target in enumerate(targets[1:], start=1):
                with pytest.raises(MalformedPayload) as caught:
                    await engine.attach_cache(folder, target)
                assert caught.value.complaints[0].path == f"caches[{index}].path"
            for target in ("../x", "a/../../x", "", "a\0b"):  # which no task can say
                with pytest.raises(MalformedPayload):
                    await engine.attach_cache(folder, target)
            assert list((tmp_path / "kept").iterdir()) == []
            await engine.discard()
            assert list(bench.folder.iterdir()) == []

    asyncio.run(run())


def test_a_cache_is_measured_and_deleted(tmp_path: Path) -> None:
    async def run() -> None:
        folder = PlainFolder("some", tmp_path / "some")
        assert (await folder.usage()).size >= 1_000_000
        assert (await folder.usage()).size < 1_500_000  # the second name of the same file costs nothing
        await folder.delete()
        assert not folder.path.exists()
        await folder.delete()

    (tmp_path / "some/sub").mkdir(parents=True)
    (tmp_path / "some/sub/large").write_bytes(b"x" * 1_000_000)
    os.link(tmp_path / "some/sub/large", tmp_path / "some/sub/again")
    (tmp_path / "some/sub/link").symlink_to("/etc/passwd")
    asyncio.run(run())


def test_a_cache_that_cannot_be_deleted_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "some/held").mkdir(parents=True)
    with mounted(tmp_path / "some/held"), caplog.at_level(logging.WARNING):
        asyncio.run(PlainFolder("some", tmp_path / "some").delete())
    assert "cache some" in caplog.text
    assert "held" in caplog.text
