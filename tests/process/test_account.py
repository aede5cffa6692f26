"""Runs that belong to another user. The worker is root."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from taskrunner.errors import ConfigError
from taskrunner.interfaces.execution import Size
from taskrunner.interfaces.platform import PlatformContext
from taskrunner.testing.conformance.platform.harness import joined
from taskrunner.testing.fakes.log import MemoryLog
from taskrunner_process import ProcessOptions, ProcessPlatform
from taskrunner_process.accounts.account import account_of
from taskrunner_process.accounts.lease import Accounts
from tests.process.process_bench import KINDS, alive, bench_on, contents, token


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_belongs_to_the_account(kind: str, open_tmp: Path) -> None:
    async def run() -> None:
        account = account_of("nobody", open_tmp)
        async with bench_on(kind, open_tmp, accounts=Accounts(shared=account)) as bench:
            script = """
                id -un; id -u; id -g; id -G; echo $USER $LOGNAME; pwd
                echo mine > file; echo temporary > $TMPDIR/t; cat /dev/stdin; cat /etc/shadow || echo refused
            """
            results = await bench.run("sh", "-c", script, stdin="from the payload\n")
            lines = bench.text.splitlines()
            assert lines[:6] == ["nobody", "65534", "65534", "65534", "nobody nobody", str(bench.folder)]
            assert lines[6] == "from the payload"
            assert lines[-1] == "refused"
            assert (bench.folder / "file").owner() == "nobody"
            assert await contents(results, "file") == b"mine\n"
            await results.dispose()
            assert list(bench.folder.iterdir()) == []

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_processes_of_another_user_are_ended(kind: str, open_tmp: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, open_tmp, accounts=Accounts(shared=account_of("nobody", open_tmp))) as bench:
            execution = await bench.start("sh", "-c", f"(setsid sleep {word} &); echo up; sleep {word}")
            assert isinstance(bench.log, MemoryLog)
            await bench.log.until("up")
            terminal = await execution.new_exec(["sh", "-c", "echo hi >/dev/tty; id -un"], tty=Size(24, 80))
            assert await joined(terminal.stdout) == b"hi\r\nnobody\r\n"
            await execution.kill()
            assert alive(word) == []

    word = token()
    asyncio.run(run())


def test_the_account_becomes_the_owner_of_a_cache(open_tmp: Path) -> None:
    async def run() -> None:
        async with bench_on(KINDS[0], open_tmp, accounts=Accounts(shared=account_of("nobody", open_tmp))) as bench:
            place = open_tmp / "closed"
            place.mkdir(mode=0o700)
            (place / "kept").mkdir(mode=0o700)
            engine = await bench.engine("sh", "-c", "echo 1 > some/cache/file; echo 2 > some/other")
            await engine.attach_cache(bench.platform.new_cache_folder("kept", place / "kept"), "some/cache")
            assert (await (await engine.start({})).wait()).exit_code == 0
            assert (place / "kept/file").owner() == "nobody"

    asyncio.run(run())


@pytest.mark.parametrize("user", ["no-such-user", "nobody"])
def test_a_user_that_cannot_be_used_is_refused_at_once(user: str, tmp_path: Path) -> None:
    """pytest's folder is closed to `nobody`."""
    tmp_path.chmod(0o700)
    context = PlatformContext("w1", tmp_path, lambda secret: secret.literal)
    with pytest.raises(ConfigError, match=r"`user` in \[process\]: .*(no user 'no-such-user'|'nobody' may not pass /)"):
        asyncio.run(ProcessPlatform.open(ProcessOptions(user), context))


def test_only_root_can_become_another_user(open_tmp: Path) -> None:
    script = f"""
import sys, os; sys.path[:0] = {[str(Path.cwd() / "engines"), str(Path.cwd())]}
from pathlib import Path
from taskrunner_process.accounts.account import account_of
from taskrunner_process.accounts.lease import Accounts
from taskrunner.errors import ConfigError
os.setuid(65534)
itself = account_of("nobody", Path({str(open_tmp)!r}))
print(itself.name)
import subprocess
subprocess.run(["true"], check=True, **itself.popen_options)
try:
    account_of("daemon", Path("/"))
except ConfigError as error:
    print(error)
"""
    printed = subprocess.check_output([sys.executable, "-c", script], text=True).splitlines()
    assert printed[0] == "nobody"
    assert "only root can run tasks as 'daemon'" in printed[1]
