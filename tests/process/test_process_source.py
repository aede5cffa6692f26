"""A process finds the files of its task's source in its folder."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from taskrunner.errors import MalformedPayload, TaskFailed
from taskrunner.model import CacheSpec, Source
from taskrunner.testing import FakeCaches
from taskrunner_process.account import account_of
from tests.process.process_bench import KINDS, bench_on, contents
from tests.support.githttp import commit, make_repository
from tests.support.project import make_project

IN_GIT = (
    "git status --porcelain; git diff --stat; git rev-parse HEAD; git describe --always --dirty; git log --format=%s"
)


def test_a_project_runs_its_own_tests(tmp_path: Path) -> None:
    async def scene() -> None:
        async with bench_on(KINDS[0], tmp_path) as bench:
            bench.source = Source(str(tmp_path / "project"))
            results = await bench.run("make", "test")
            assert results.exit_code == 0, bench.text
            assert "Ran 1 test" in bench.text
            assert "all checks passed" in bench.text
            assert await contents(results, "report.txt") == b"it works\n"
            await results.dispose()
            assert list(bench.folder.iterdir()) == []

    make_project(tmp_path / "project")
    asyncio.run(scene())


@pytest.mark.parametrize("user", ["", "nobody"])
def test_git_finds_a_clean_checkout(open_tmp: Path, user: str) -> None:
    async def scene() -> None:
        account = account_of(user, open_tmp) if user else None
        async with bench_on(KINDS[0], open_tmp, account=account) as bench:
            bench.source = Source(str(open_tmp / "project"))
            engine = await bench.engine("sh", "-c", IN_GIT, caches=(CacheSpec("kept", "a/cache"),))
            lease = await FakeCaches(open_tmp).exclusive("kept")
            await engine.attach_cache(lease.folder, "a/cache")
            (bench.folder / ".tmp" / "x").touch()
            results = await (await engine.start({})).wait()
            assert bench.text.splitlines()[-3:] == [sha, sha[:7], "a change"], "git status and diff print nothing"
            owners = {path.lstat().st_uid for path in bench.folder.rglob("*") if path.name != "x"}
            assert owners == {account.uid if account else 0}
            await results.dispose()

    sha = make_project(open_tmp / "project")
    asyncio.run(scene())


@pytest.mark.parametrize(
    ("target", "problem"), [("run.sh", "something is there already"), ("out/x", "lies behind a link")]
)
def test_a_cache_replaces_nothing_and_lies_behind_no_link(tmp_path: Path, target: str, problem: str) -> None:
    async def scene() -> None:
        async with bench_on(KINDS[0], tmp_path) as bench:
            bench.source = Source(str(tmp_path / "project"))
            engine = await bench.engine("true")
            lease = await FakeCaches(tmp_path).exclusive("kept")
            with pytest.raises(MalformedPayload, match=problem):
                await engine.attach_cache(lease.folder, target)
            await engine.discard()

    make_repository(tmp_path / "project", {"run.sh": "", "folder/x": ""})
    (tmp_path / "outside").mkdir()
    make_link(tmp_path / "project", "out", str(tmp_path / "outside"))
    asyncio.run(scene())
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("target", ["", "/etc"])
def test_the_folder_for_temporary_files_is_no_file_of_the_commit(tmp_path: Path, target: str) -> None:
    async def scene() -> None:
        async with bench_on(KINDS[0], tmp_path) as bench:
            bench.source = Source(str(tmp_path / "project"))
            with pytest.raises(TaskFailed, match=r"the commit has a file \.tmp"):
                await bench.engine("true")

    make_repository(tmp_path / "project", {"x": "", **({} if target else {".tmp": "x"})})
    if target:
        make_link(tmp_path / "project", ".tmp", target)
    asyncio.run(scene())


def make_link(repository: Path, name: str, target: str) -> None:
    (repository / name).symlink_to(target)
    commit(repository, {})
