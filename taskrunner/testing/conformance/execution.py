"""What every execution does: waiting, killing, aborting."""

from __future__ import annotations

import asyncio

import pytest

from taskrunner.errors import Bug, NotSupported, TaskFailed
from taskrunner.testing.conformance.platform_harness import PlatformHarness, PlatformKit, joined, scenario
from taskrunner.testing.conformance.script import FOREVER, Script

SLEEPER = Script(files={"made": "so far"}, prints="asleep\n", sleeps=True)


class ExecutionChecks(PlatformKit):
    """The end of a run, which is the same for every caller."""

    @scenario
    async def test_every_wait_gives_the_same_results(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(exit_code=3))
        several = await asyncio.gather(*(trial.execution.wait() for _ in range(3)))
        results = await trial.wait()
        assert all(one is results for one in several)

    @scenario
    async def test_a_wait_that_is_cancelled_does_not_end_the_run(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(prints="up\n", pauses=1, exit_code=7))
        waiting = asyncio.create_task(trial.execution.wait())
        other = asyncio.create_task(trial.execution.wait())
        await trial.log.until("up")
        waiting.cancel()
        await asyncio.wait([waiting])
        assert (await trial.wait()).exit_code == 7
        assert await other is trial.results

    @scenario
    async def test_a_kill_keeps_the_files_so_far(self, harness: PlatformHarness) -> None:
        trial = await harness.started(SLEEPER)
        await trial.log.until("asleep")
        results = await trial.kill()
        assert results.exit_code != 0
        assert await trial.file("made") == b"so far"
        assert await self.alive() == [], "something of the run is alive after kill"

    @scenario
    async def test_a_kill_ends_every_wait(self, harness: PlatformHarness) -> None:
        trial = await harness.started(SLEEPER)
        waiting = asyncio.create_task(trial.execution.wait())
        await trial.log.until("asleep")
        results = await trial.kill()
        assert await waiting is results
        assert await trial.execution.kill() is results

    @scenario
    async def test_a_kill_after_the_end_gives_the_results_of_that_end(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(exit_code=5))
        ended = await trial.wait()
        assert await trial.kill() is ended
        assert ended.exit_code == 5

    @scenario
    async def test_a_kill_right_after_the_start_ends_it(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(sleeps=True))
        assert (await trial.kill()).exit_code != 0

    @scenario
    async def test_after_an_abort_there_are_no_results(self, harness: PlatformHarness) -> None:
        trial = await harness.started(SLEEPER)
        waiting = asyncio.create_task(trial.execution.wait())
        await trial.log.until("asleep")
        await trial.abort()
        assert await self.alive() == [], "something of the run is alive after abort"
        with pytest.raises(Bug):
            await waiting
        with pytest.raises(Bug):
            await trial.execution.wait()
        await trial.execution.abort()

    @scenario
    async def test_a_run_that_has_ended_can_be_aborted(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(files={"made": "so far"}, prints="done\n"))
        await trial.log.until("done")
        await trial.abort()
        await trial.execution.abort()


class ExecChecks(PlatformKit):
    """Commands beside the main one. They are `echo`, `cat`, `false` and `sleep`, as POSIX has them."""

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
    async def test_a_command_is_aborted_and_the_run_goes_on(self, harness: PlatformHarness) -> None:
        if "exec" not in self.supports:
            return
        trial = await harness.started(SLEEPER)
        waiting = asyncio.create_task(trial.execution.wait())
        sleeping = await trial.execution.new_exec(["sleep", str(FOREVER)])
        await sleeping.abort()
        await sleeping.abort()
        assert await sleeping.wait() != 0
        assert not waiting.done()
        assert await trial.kill() is await waiting

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
        terminal = await trial.execution.new_exec(["cat"], tty=True)
        await terminal.resize(24, 80)


__all__ = ["ExecChecks", "ExecutionChecks"]
