"""A process finds the files of its task's source in its folder."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from taskrunner.errors import MalformedPayload, TaskFailed
from taskrunner.interfaces.source import SourceOptions
from taskrunner.model import CacheSpec, Source
from taskrunner.schema.decode import decode
from taskrunner.testing import FakeCaches
from taskrunner_process import ProcessPayload
from taskrunner_process.accounts.account import account_of
from taskrunner_process.accounts.lease import Accounts
from tests.process.process_bench import KINDS, bench_on, contents, executable
from tests.support.githttp import commit, make_repository
from tests.support.project import make_archive, make_project

IN_GIT = (
    "git status --porcelain; git diff --stat; git rev-parse HEAD; git describe --always --dirty; git log --format=%s"
)


@pytest.mark.parametrize("kind", ["repository", "archive"])
def test_a_project_runs_its_own_tests(tmp_path: Path, kind: str) -> None:
    async def scene() -> None:
        async with bench_on(KINDS[0], tmp_path) as bench:
            bench.source = archive if kind == "archive" else Source(str(tmp_path / "project"))
            bench.source_options = SourceOptions((str(tmp_path),), (str(tmp_path),))
            results = await bench.run("make", "test")
            assert results.exit_code == 0, bench.text
            assert "Ran 1 test" in bench.text
            assert "all checks passed" in bench.text
            assert await contents(results, "report.txt") == b"it works\n"
            await results.dispose()
            assert list(bench.folder.iterdir()) == []

    make_project(tmp_path / "project")
    archive = make_archive(tmp_path / "project", tmp_path / "slugs.tar.gz")
    asyncio.run(scene())


def test_the_files_of_an_archive_belong_to_the_account_of_the_run(open_tmp: Path) -> None:
    async def scene() -> None:
        account = account_of("nobody", open_tmp)
        async with bench_on(KINDS[0], open_tmp, accounts=Accounts(shared=account)) as bench:
            bench.source, bench.source_options = archive, SourceOptions((str(open_tmp),))
            results = await bench.run("sh", "-c", "find . ! -user nobody; sh check.sh; touch slugs/new")
            assert results.exit_code == 0, bench.text
            assert [line for line in bench.text.splitlines() if "source:" not in line] == ["all checks passed"]
            await results.dispose()

    make_project(open_tmp / "project")
    archive = make_archive(open_tmp / "project", open_tmp / "slugs.tar.gz")
    asyncio.run(scene())


@pytest.mark.parametrize("user", ["", "nobody"])
def test_git_finds_a_clean_checkout(open_tmp: Path, user: str) -> None:
    async def scene() -> None:
        account = account_of(user, open_tmp) if user else None
        async with bench_on(KINDS[0], open_tmp, accounts=Accounts(shared=account)) as bench:
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
            with pytest.raises(TaskFailed, match=r"source: it has a file \.tmp"):
                await bench.engine("true")

    make_repository(tmp_path / "project", {"x": "", **({} if target else {".tmp": "x"})})
    if target:
        make_link(tmp_path / "project", ".tmp", target)
    asyncio.run(scene())


def make_link(repository: Path, name: str, target: str) -> None:
    (repository / name).symlink_to(target)
    commit(repository, {})


@pytest.mark.parametrize("name", [".steps", ".steps/script"])
def test_the_folder_of_the_steps_is_no_file_of_the_commit(tmp_path: Path, name: str) -> None:
    async def scene() -> None:
        async with bench_on(KINDS[0], tmp_path) as bench:
            bench.source = Source(str(tmp_path / "project"))
            engine = await bench.loaded(decode(ProcessPayload, {"steps": [{"run": "true"}]}))
            with pytest.raises(TaskFailed, match=r"source: it has a file \.steps") as caught:
                await engine.start({})
            assert caught.value.reason == "source-refused"
            await engine.discard()

    make_repository(tmp_path / "project", {name: "x"})
    asyncio.run(scene())


COMMAND = ProcessPayload(("./tool", "one"), working_dir="deep/er")
STEPS = decode(
    ProcessPayload,
    {"steps": [{"run": "./tool one"}, {"run": "pwd", "working_dir": "deep"}], "working_dir": "deep/er"},
)


@pytest.mark.parametrize("payload", [COMMAND, STEPS], ids=["command", "steps"])
def test_a_command_starts_in_a_folder_of_the_checkout(tmp_path: Path, payload: ProcessPayload) -> None:
    async def scene() -> None:
        async with bench_on(KINDS[0], tmp_path) as bench:
            bench.source = Source(str(tmp_path / "project"))
            results = await (await (await bench.loaded(payload)).start({})).wait()
            assert f"{bench.folder}/deep/er {bench.folder} one\n" in bench.text
            assert (f"\n{bench.folder}/deep\n" in bench.text) == (payload is STEPS)
            assert await contents(results, "deep/er/made") == b"", "artifacts stay relative to the run's folder"
            await results.dispose()

    make_repository(tmp_path / "project", {"x": ""})
    (tmp_path / "project/deep/er").mkdir(parents=True)
    executable(tmp_path / "project/deep/er/tool", "#!/bin/sh\necho $PWD $HOME $1\n: > made\n")
    commit(tmp_path / "project", {})
    asyncio.run(scene())


@pytest.mark.parametrize("folder", ["missing", "file", "n" * 300])
def test_a_working_folder_that_is_not_there(tmp_path: Path, folder: str) -> None:
    async def scene() -> None:
        async with bench_on(KINDS[0], tmp_path) as bench:
            bench.source = Source(str(tmp_path / "project"))
            engine = await bench.loaded(ProcessPayload(("true",), working_dir=folder))
            with pytest.raises(TaskFailed, match=f"there is no folder '{folder}' in the run's folder") as caught:
                await engine.start({})
            assert caught.value.reason == "working-dir-missing"
            await engine.discard()

    make_repository(tmp_path / "project", {"file": ""})
    asyncio.run(scene())
