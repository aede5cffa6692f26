"""What every execution does: waiting, killing, aborting."""

from __future__ import annotations

import asyncio

import pytest

from taskrunner.errors import Bug
from taskrunner.testing.conformance.platform.harness import PlatformHarness, PlatformKit, scenario
from taskrunner.testing.conformance.platform.script import Script

SLEEPER = Script(files={"made": "so far"}, prints="asleep\n", sleeps=True)

SIGNALED = 128
"""An exit code above this is that of a signal."""


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
        assert results.exit_code > SIGNALED, "128 plus the number of the signal"
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

    @scenario
    async def test_several_kills_and_waits_have_the_same_results(self, harness: PlatformHarness) -> None:
        trial = await harness.started(SLEEPER)
        await trial.log.until("asleep")
        calls = (trial.execution.wait(), trial.execution.kill(), trial.execution.kill())
        several = await asyncio.gather(*calls)
        results = await trial.wait()
        assert all(one is results for one in several)
        assert results.exit_code > SIGNALED

    @scenario
    async def test_a_kill_ends_what_ignores_signals(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(ignores_signals=True, prints="asleep\n", sleeps=True))
        await trial.log.until("asleep")
        assert (await trial.kill()).exit_code > SIGNALED
        assert await self.alive() == [], "something of the run is alive after kill"

    @scenario
    async def test_a_kill_ends_what_has_left_the_session(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(leaves_child=True, prints="asleep\n", sleeps=True))
        await trial.log.until("asleep")
        await trial.kill()
        assert await self.alive() == [], "something of the run is alive after kill"

    @scenario
    async def test_a_run_ends_with_its_command(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(leaves_child=True, prints="done\n", exit_code=4))
        assert (await trial.wait()).exit_code == 4
        assert "done\n" in trial.log.text
        assert await self.alive() == [], "what the command has left running is ended"


__all__ = ["SLEEPER", "ExecutionChecks"]
