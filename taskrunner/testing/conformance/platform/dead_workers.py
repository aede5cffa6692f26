"""What every platform does with the runs of other workers: the dead ones' are recovered or removed, others go on."""

from __future__ import annotations

import pytest

from taskrunner.errors import NotSupported, TaskFailed
from taskrunner.testing.conformance.platform.execution import SIGNALED
from taskrunner.testing.conformance.platform.harness import PlatformHarness, PlatformKit, scenario
from taskrunner.testing.conformance.platform.script import Script
from taskrunner.testing.conformance.platform.trial import TrialLog

UNTIL_LATER = Script(prints="up\n", pauses=1, exit_code=7)
"""A run that ends by itself, if nobody ends it before."""


class DeadWorkerChecks(PlatformKit):
    """Cleaning up after one worker, and taking over from it."""

    @scenario
    async def test_an_unknown_worker_has_left_nothing(self, harness: PlatformHarness) -> None:
        assert await harness.platform.clean_up_after("nobody") == []

    @scenario
    async def test_what_a_dead_worker_left_is_found_once(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(prints="up\n", sleeps=True))
        await trial.log.until("up")
        trial.held = None  # its worker is dead, and releases nothing
        successor = await harness.opened("w2")
        found = await successor.clean_up_after(harness.unique("w1"))
        assert all(isinstance(line, str) for line in found)
        assert await successor.clean_up_after(harness.unique("w1")) == []
        assert await self.alive() == [], "something of the run is alive after clean_up_after"
        assert await self.left_behind() == [], "something of the run is left after clean_up_after"

    @scenario
    async def test_a_run_is_recovered(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(files={"made": "so far"}, prints="up\n", sleeps=True))
        await trial.log.until("up")
        successor = await harness.opened("w2")
        if "recover" not in self.supports:
            with pytest.raises(NotSupported):
                await successor.recover(trial.execution.handle, trial.context(), 0)
            return
        assert trial.execution.handle
        offset, trial.log = len(trial.log.data), TrialLog(self.checker)
        trial.held = trial.execution = await successor.recover(trial.execution.handle, trial.context(), offset)
        assert (await trial.kill()).exit_code > SIGNALED
        assert await trial.file("made") == b"so far"
        assert "up" not in trial.log.text, "what the log had is not written to it again"
        await trial.release()

    @scenario
    async def test_a_run_that_has_ended_is_not_recovered(self, harness: PlatformHarness) -> None:
        with pytest.raises((TaskFailed, NotSupported)) as caught:
            await harness.platform.recover("no such handle", harness.trial().context(), 0)
        if "recover" in self.supports:
            assert isinstance(caught.value, TaskFailed)
            assert caught.value.reason == "lost"

    @scenario
    async def test_cleaning_up_ends_no_run_of_another_worker(self, harness: PlatformHarness) -> None:
        """Also not of one whose id begins or ends like that of the dead one."""
        trial = await harness.started(UNTIL_LATER)
        await trial.log.until("up")
        successor = await harness.opened("w2")
        theirs = harness.unique("w1")
        for dead in (harness.unique("x"), harness.unique("w2"), theirs[:-1], theirs[1:], f"{theirs}0"):
            assert await successor.clean_up_after(dead) == []
        assert (await trial.wait()).exit_code == 7

    @scenario
    async def test_a_dead_worker_is_cleaned_up_while_another_works(self, harness: PlatformHarness) -> None:
        living = await harness.opened("w2")
        dead, trial = await harness.started(Script(sleeps=True)), await harness.started(UNTIL_LATER, platform=living)
        await trial.log.until("up")
        dead.held = None
        await living.clean_up_after(harness.unique("w1"))
        assert (await trial.wait()).exit_code == 7
        assert await living.clean_up_after(harness.unique("w1")) == []

    @scenario
    async def test_what_a_dead_worker_has_loaded_or_not_disposed_of_is_removed(self, harness: PlatformHarness) -> None:
        loaded, ended = harness.trial(), await harness.finished(Script(files={"a": "b"}))
        await loaded.load(Script())
        loaded.held = ended.held = None
        successor = await harness.opened("w2")
        await successor.clean_up_after(harness.unique("w1"))
        assert await successor.clean_up_after(harness.unique("w1")) == []
        assert await self.left_behind() == [], "something of the runs is left after clean_up_after"

    @scenario
    async def test_a_worker_that_stops_leaves_the_runs_of_another(self, harness: PlatformHarness) -> None:
        other = await harness.opened("w2")
        trial = await harness.started(UNTIL_LATER)
        await trial.log.until("up")
        await other.dispose()
        harness.forget("w2")
        assert (await trial.wait()).exit_code == 7

    @scenario
    async def test_a_run_that_is_recovered_goes_on(self, harness: PlatformHarness) -> None:
        if "recover" not in self.supports:
            return
        script = Script(files={"made": "whole"}, prints="first\n", pauses=1, prints_after="last\n", exit_code=7)
        trial = await harness.started(script)
        await trial.log.until("first\n")
        successor = await harness.opened("w2")
        trial.log = TrialLog(self.checker)
        trial.held = trial.execution = await successor.recover(trial.execution.handle, trial.context(), 2)
        assert (await trial.wait()).exit_code == 7
        assert trial.log.text == "rst\nlast\n", "the log has the first 2 bytes already"
        assert await trial.file("made") == b"whole"


__all__ = ["DeadWorkerChecks"]
