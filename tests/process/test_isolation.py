"""Runs with accounts of their own or a common one: what they cannot reach. The worker is root."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from taskrunner.errors import ConfigError, MalformedPayload, TaskFailedInternally
from taskrunner.files.untrusted import remove_folder
from taskrunner.interfaces.platform import PlatformContext
from taskrunner.steps.specification import StepSpec
from taskrunner.testing.fakes.log import MemoryLog
from taskrunner_process import ProcessOptions, ProcessPayload, ProcessPlatform
from taskrunner_process.accounts.account import Account, account_of, accounts_of
from taskrunner_process.accounts.lease import Accounts
from taskrunner_process.child import UMASK
from tests.process.process_bench import KINDS, Bench, alive, bench_on, token

SHARED = "news"
OWN = ("uucp", "games")
"""Accounts that nothing on a machine uses; not `nobody`, whose processes belong to other tests."""


@pytest.fixture
def accounts(open_tmp: Path) -> Accounts:
    return Accounts(accounts_of(OWN, open_tmp))


# ---- links that change while the worker is at it --------------------------------------------------------

FLIP = """
import os, sys
victim = sys.argv[1]
while True:
    for name in os.listdir("."):
        try:
            os.chdir(name)
        except OSError:
            continue
        try:
            for _ in range(1000):
                try:
                    os.symlink(victim, "link")
                except OSError:
                    pass
                try:
                    os.rename("a", "b")
                    os.rename("link", "a")
                    os.rename("a", "link")
                    os.rename("b", "a")
                except FileExistsError:
                    pass
        except OSError:
            pass
        os.chdir(sys.argv[2])
"""
DEPTH = 12
TRIES = 200


@pytest.fixture
def flipper(open_tmp: Path) -> Iterator[Path]:
    """A folder of the machine; a process of the account tries to put a link to it in the way of whatever the worker
    makes in the folder of a run of the same account."""
    victim = open_tmp / "victim"
    victim.joinpath(*DEPTH * ["b"]).mkdir(parents=True)
    account, runs = account_of(SHARED, open_tmp), open_tmp / "runs"
    runs.mkdir()
    process = subprocess.Popen(["python3", "-c", FLIP, victim, runs], cwd=runs, **account.popen_options)
    yield victim
    assert process.poll() is None
    process.kill()
    process.wait()


def test_no_folder_of_the_machine_is_given_away_while_links_flip(open_tmp: Path, flipper: Path) -> None:
    async def once(bench: Bench, number: int) -> None:
        cache = open_tmp / "caches" / str(number)
        cache.mkdir(parents=True)
        engine = await bench.engine("sh", "-c", "true")
        try:
            folder = bench.platform.new_cache_folder("kept", cache)
            await engine.attach_cache(folder, "/".join(["a", *DEPTH * ["b"], "c"]))
        except (MalformedPayload, TaskFailedInternally):
            await engine.discard()
        else:
            results = await (await engine.start({})).wait()
            with suppress(TaskFailedInternally):  # what the other process makes again and again
                await results.dispose()
        remove_folder(bench.folder)

    async def run() -> None:
        shared = Accounts(shared=account_of(SHARED, open_tmp))
        async with bench_on(KINDS[0], open_tmp / "runs", accounts=shared) as bench:
            for number in range(TRIES):
                await once(bench, number)

    asyncio.run(run())
    assert {path.lstat().st_uid for path in (flipper, *flipper.rglob("*"))} == {0}
    assert {path.name for path in flipper.rglob("*")} == {"b"}


def test_a_pipe_in_place_of_a_program_does_not_hold_up_the_worker(open_tmp: Path) -> None:
    """Between the check that it is a file and the look at its first line, a run can replace it."""

    async def run() -> None:
        async with bench_on(KINDS[0], open_tmp) as bench:
            script = "while :; do echo '#!/bin/sh' >x; chmod +x x; rm x; mkfifo -m 755 x; rm x; done"
            execution = await bench.start("sh", "-c", f"echo up; {script}")
            assert isinstance(bench.log, MemoryLog)
            await bench.log.until("up")
            async with asyncio.timeout(60):
                for _ in range(200):
                    try:
                        command = await execution.new_exec(["./x"])
                    except Exception as error:  # noqa: BLE001  any answer is one
                        assert "x" in str(error)  # noqa: PT017  as above
                    else:
                        await command.abort()
            await execution.abort()

    asyncio.run(run())


# ---- an account for each run ----------------------------------------------------------------------------


def test_runs_at_one_time_have_accounts_of_their_own_and_see_nothing_of_each_other(
    open_tmp: Path, accounts: Accounts
) -> None:
    async def run() -> None:
        async with bench_on(KINDS[0], open_tmp, accounts=accounts) as bench:
            first = await bench.start(
                "sh", "-c", f"id -un; echo mine > file; exec sleep {word}", env={"SECRET": "s3cret"}
            )
            assert isinstance(bench.log, MemoryLog)
            await bench.log.until("\n")
            folder = bench.folder
            [pid] = alive(word)
            look = (
                f"id -un; cat /proc/{pid}/environ {folder}/file; ls {folder} /proc/{pid}/fd; kill -0 {pid}; echo over"
            )
            second = await (await bench.start("sh", "-c", look)).wait()
            lines = bench.text.splitlines()
            assert {lines[0], lines[1]} == set(OWN)
            assert "s3cret" not in bench.text
            assert "mine" not in lines
            assert lines[-1] == "over"
            assert bench.text.count("ermi") >= 5, bench.text
            await second.dispose()
            await first.abort()

    word = token()
    asyncio.run(run())


def test_a_run_waits_until_an_account_is_free(open_tmp: Path, accounts: Accounts) -> None:
    async def run() -> None:
        async with (
            bench_on(KINDS[0], open_tmp, accounts=accounts) as bench,
            bench_on(KINDS[0], open_tmp / "other", accounts=accounts, worker_id="w2") as other,
        ):
            (open_tmp / "other").mkdir(mode=0o755)
            running = [await bench.start("sleep", word), await other.start("sleep", word)]
            waiting = asyncio.create_task(bench.engine("true"))
            assert isinstance(bench.log, MemoryLog)
            await bench.log.until("waiting for one")
            assert not waiting.done()
            await running[1].abort()
            engine = await waiting
            await engine.discard()
            await running[0].abort()

    word = token()
    asyncio.run(run())


def test_what_runs_as_the_account_is_ended_before_and_after_a_run(open_tmp: Path, accounts: Accounts) -> None:
    """However it came there: started by a run that could hide it, or by somebody else."""
    account = accounts.own[0]
    before = sleeper(account)

    async def run() -> None:
        async with bench_on(KINDS[-1], open_tmp, accounts=Accounts([account])) as bench:
            engine = await bench.engine("true")
            assert before.wait() == -9
            results = await (await engine.start({})).wait()
            hidden = sleeper(account)
            await results.dispose()
            assert hidden.wait() == -9

    asyncio.run(run())
    assert [each.pid for each in psutil.process_iter() if each.uids().real == account.uid] == []


def sleeper(account: Account) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "1000000"], start_new_session=True, **account.popen_options)


def test_a_cache_changes_its_owner_and_is_closed_to_the_last_one(open_tmp: Path, accounts: Accounts) -> None:
    async def use(bench: Bench, script: str) -> None:
        engine = await bench.engine("sh", "-c", script)
        await engine.attach_cache(bench.platform.new_cache_folder("kept", cache), "cache")
        results = await (await engine.start({})).wait()
        assert results.exit_code == 0, bench.text
        await results.dispose()

    async def run() -> None:
        async with bench_on(KINDS[0], open_tmp, accounts=Accounts([first])) as bench:
            await use(bench, f"mkdir -p cache/d; echo of the first > cache/d/f; ln -s {secret} cache/d/link")
            assert (cache / "d/f").stat().st_uid == first.uid
            os.link(stranger, cache / "stranger")
            results = await bench.run("cat", str(cache / "d/f"))
            assert "of the first" not in bench.text, "the account had the cache in its last run"
            await results.dispose()
        async with bench_on(KINDS[0], open_tmp / "second", accounts=Accounts([second])) as bench:
            (open_tmp / "second").mkdir(mode=0o755)
            await use(bench, "cat cache/d/f; echo more >> cache/d/f; rm cache/d/link")
            assert "of the first" in bench.text

    first, second = accounts.own
    cache, secret, stranger = open_tmp / "caches" / "1", open_tmp / "secret", open_tmp / "stranger"
    cache.mkdir(parents=True)
    secret.touch()
    stranger.touch()
    asyncio.run(run())
    assert (cache.stat().st_uid, cache.stat().st_mode & 0o777) == (0, 0o700)
    assert (cache / "d/f").stat().st_uid == second.uid
    assert (secret.stat().st_uid, stranger.stat().st_uid) == (0, 0)


def test_steps_run_as_an_account_of_their_own(open_tmp: Path, accounts: Accounts) -> None:
    async def run() -> None:
        async with bench_on(KINDS[0], open_tmp, accounts=accounts) as bench:
            scripts = ("id -un", "id -un; echo x=1 >> $TASKRUNNER_OUTPUT")
            engine = await bench.loaded(ProcessPayload(steps=tuple(StepSpec(run=script) for script in scripts)))
            results = await (await engine.start({})).wait()
            assert results.exit_code == 0, bench.text
            assert bench.text.count(OWN[0]) == 2
            await results.dispose()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("users", "message"),
    [
        (("root",), "what runs as 'root' would be killed"),
        ((SHARED, SHARED), "'news' is there twice"),
        (("no-such-user",), "`users` in .process.: this machine has no user 'no-such-user'"),
    ],
)
def test_accounts_that_cannot_be_used_are_refused(open_tmp: Path, users: tuple[str, ...], message: str) -> None:
    context = PlatformContext("w1", open_tmp, lambda secret: secret.literal)
    with pytest.raises(ConfigError, match=message):
        asyncio.run(ProcessPlatform.open(ProcessOptions(users=users), context))


def test_user_and_users_exclude_each_other() -> None:
    [complaint] = ProcessPlatform.check_options(ProcessOptions("news", ("games",)))
    assert str(complaint) == "users: stands beside `user` (leave one of them out)"


# ---- modes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_a_run_folder_is_closed_to_others_and_its_files_have_usual_modes(
    open_tmp: Path, accounts: Accounts, umask: int
) -> None:
    async def run() -> None:
        async with bench_on(KINDS[0], open_tmp, accounts=accounts) as bench:
            results = await bench.shell("touch f; mkdir d; umask")
            assert oct(bench.folder.stat().st_mode & 0o777) == oct(0o700)
            assert oct((bench.folder / "f").stat().st_mode & 0o777) == oct(0o666 & ~UMASK)
            await results.dispose()

    before = os.umask(umask)
    try:
        asyncio.run(run())
    finally:
        os.umask(before)
