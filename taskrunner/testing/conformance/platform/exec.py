"""What every platform does with commands beside the main one."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from taskrunner.errors import NotSupported, TaskFailed
from taskrunner.interfaces.execution import Size
from taskrunner.testing.conformance.comparison import assert_same
from taskrunner.testing.conformance.measures import MEBIBYTE
from taskrunner.testing.conformance.platform.environment import command_lines
from taskrunner.testing.conformance.platform.execution import SLEEPER
from taskrunner.testing.conformance.platform.harness import (
    WORKERS_OWN,
    PlatformHarness,
    PlatformKit,
    joined,
    scenario,
    write_on,
)
from taskrunner.testing.conformance.platform.script import FOREVER, Script


class ExecChecks(PlatformKit):
    """Commands beside the main one. They are `echo`, `cat`, `false`, `sleep`, `stty` and `sh`, as POSIX has them."""

    @scenario
    async def test_a_command_prints_and_ends(self, harness: PlatformHarness) -> None:
        trial = await harness.started(SLEEPER)
        if "exec" not in self.supports:
            with pytest.raises(NotSupported):
                await trial.execution.new_exec(["echo", "hello"])
            return
        greeting = await trial.execution.new_exec(["echo", "hello", "you"])
        assert await joined(greeting.stdout) == b"hello you\n"
        assert [await greeting.wait(), await greeting.wait()] == [0, 0]
        failing = await trial.execution.new_exec(["false"])
        assert await joined(failing.stdout) == b""
        assert await failing.wait() == 1

    @scenario
    async def test_a_command_reads_its_input(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial = await harness.started(SLEEPER)
        copying = await trial.execution.new_exec(["cat"])
        await copying.stdin.write(b"there ")
        await copying.stdin.write(b"and back")
        await copying.stdin.close()
        assert await joined(copying.stdout) == b"there and back"
        assert await copying.wait() == 0

    @scenario
    async def test_a_command_has_more_variables_than_its_run(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial = await harness.started(SLEEPER, {"OURS": "of the run", "BOTH": "of the run"})
        added = {"BOTH": "of the command", "MINE": "of the command"}
        command = ["sh", "-c", "echo $OURS, $BOTH, $MINE"]
        printing = await trial.execution.new_exec(command, env=added)
        assert await joined(printing.stdout) == b"of the run, of the command, of the command\n"
        without = await trial.execution.new_exec(["sh", "-c", "echo $BOTH"])
        assert await joined(without.stdout) == b"of the run\n"

    @scenario
    async def test_a_command_is_aborted_and_the_run_goes_on(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial = await harness.started(Script(pauses=3, exit_code=7))
        waiting = asyncio.create_task(trial.execution.wait())
        sleeping = await trial.execution.new_exec(["sleep", str(FOREVER)])
        await sleeping.abort()
        await sleeping.abort()
        assert await sleeping.wait() < 0, "minus the number of the signal"
        assert not waiting.done(), "the command ended before its run"
        assert (await trial.wait()).exit_code == 7

    @scenario
    async def test_a_command_ends_with_its_run(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial = await harness.started(SLEEPER)
        sleeping = await trial.execution.new_exec(["sleep", str(FOREVER)])
        await trial.kill()
        assert await sleeping.wait() != 0
        with pytest.raises(TaskFailed):
            await trial.execution.new_exec(["echo", "too late"])

    @scenario
    async def test_only_a_terminal_has_a_size(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial = await harness.started(SLEEPER)
        plain = await trial.execution.new_exec(["cat"])
        with pytest.raises(NotSupported):
            await plain.resize(24, 80)
        terminal = await trial.execution.new_exec(["cat"], tty=Size(24, 80))
        await terminal.resize(24, 80)

    @scenario
    async def test_a_command_sees_the_size_of_its_terminal(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial = await harness.started(SLEEPER)
        for resized, seen in (None, b"33 111"), (Size(40, 132), b"40 132"):
            showing = await trial.execution.new_exec(["sh", "-c", "read go; stty size"], tty=Size(33, 111))
            if resized:
                await showing.resize(resized.rows, resized.columns)
            await showing.stdin.write(b"go\n")
            assert seen in await joined(showing.stdout)

    @scenario
    async def test_an_abort_frees_who_writes_to_a_command(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial = await harness.started(SLEEPER)
        idle = await trial.execution.new_exec(["sleep", str(FOREVER)])
        writing = asyncio.create_task(write_on(idle.stdin))
        await asyncio.sleep(0)
        await idle.abort()
        await asyncio.gather(writing, return_exceptions=True)
        with pytest.raises(BrokenPipeError):
            await write_on(idle.stdin)

    @scenario
    async def test_a_command_sees_the_files_of_its_run(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial = await harness.started(Script(files={"made": "here", "deep/er": "below"}, prints="up\n", sleeps=True))
        await trial.log.until("up")
        reading = await trial.execution.new_exec(["cat", "made"])
        assert await joined(reading.stdout) == b"here"
        below = await trial.execution.new_exec(["cat", "er"], cwd="deep")
        assert await joined(below.stdout) == b"below"

    @scenario
    async def test_a_command_does_not_see_the_environment_of_the_worker(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial = await harness.started(SLEEPER)
        printing = await trial.execution.new_exec(["sh", "-c", f"echo [${WORKERS_OWN}]"])
        assert b"credential" not in await joined(printing.stdout)

    @scenario
    async def test_errors_of_a_command_are_apart_from_its_output(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial = await harness.started(SLEEPER)
        failing = await trial.execution.new_exec(["cat", "missing"])
        output, errors = await asyncio.gather(joined(failing.stdout), joined(failing.stderr))
        assert output == b""
        assert errors
        assert await failing.wait() != 0

    @scenario
    async def test_what_a_command_copies_is_whole(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial, data = await harness.started(SLEEPER), bytes(range(256)) * (MEBIBYTE // 256)
        copying = await trial.execution.new_exec(["cat"])

        async def write() -> None:
            await copying.stdin.write(data)
            await copying.stdin.close()

        _, output = await asyncio.gather(write(), joined(copying.stdout))
        assert_same(output, data)

    @scenario
    async def test_a_command_that_does_not_exist_has_not_started(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial = await harness.started(SLEEPER)
        with pytest.raises(TaskFailed):
            await trial.execution.new_exec(["no-such-command-anywhere"])

    @scenario
    async def test_a_signal_that_ended_a_command_is_a_negative_status(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial = await harness.started(SLEEPER)
        killed = await trial.execution.new_exec(["sh", "-c", "kill -9 $$"])
        assert await killed.wait() == -9

    @scenario
    async def test_an_abort_ends_what_the_command_has_started(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial, seconds = await harness.started(SLEEPER), str(FOREVER + secrets.randbelow(FOREVER))
        command = f"sleep {seconds} & echo started; sleep {seconds}"
        sleeping = await trial.execution.new_exec(["sh", "-c", command])
        assert await anext(aiter(sleeping.stdout)) == b"started\n"
        await sleeping.abort()
        assert [line for line in command_lines() if line.endswith(f"sleep {seconds}")] == []

    @scenario
    async def test_a_command_that_has_ended_reads_no_more(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial = await harness.started(SLEEPER)
        ended = await trial.execution.new_exec(["false"])
        await ended.wait()
        with pytest.raises(BrokenPipeError):
            await write_on(ended.stdin)


__all__ = ["ExecChecks"]
