"""What every engine does until its start, and what each run keeps to itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from taskrunner.errors import MalformedPayload, NotSupported, TaskrunnerError
from taskrunner.testing.conformance.measures import assert_no_descriptor_stays_open
from taskrunner.testing.conformance.platform.harness import PlatformHarness, PlatformKit, Trial, scenario
from taskrunner.testing.conformance.platform.script import Script

MOMENTS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 50)
"""Turns of the loop after which a call is cancelled."""


class EngineChecks(PlatformKit):
    """Loading, attaching, starting, discarding."""

    @scenario
    async def test_the_exit_code_is_reported(self, harness: PlatformHarness) -> None:
        for code in (0, 1, 77):
            assert (await harness.finished(Script(exit_code=code))).results.exit_code == code

    @scenario
    async def test_an_engine_before_load_is_discarded(self, harness: PlatformHarness) -> None:
        engine = await harness.trial().make()
        await engine.discard()
        await engine.discard()

    @scenario
    async def test_an_engine_after_load_is_discarded(self, harness: PlatformHarness) -> None:
        engine = await harness.trial().load(Script())
        await engine.discard()
        await engine.discard()

    @scenario
    async def test_a_load_that_is_cancelled_is_undone(self, harness: PlatformHarness) -> None:
        for turns in range(10):
            trial = harness.trial()
            loading = asyncio.create_task(trial.load(Script(files={"a": "b"})))
            for _ in range(turns):  # of the loop: each load is cancelled a little later
                await asyncio.sleep(0)
            loading.cancel()
            with suppress(asyncio.CancelledError):
                await loading
            await trial.release()

    @scenario
    async def test_two_runs_at_once_do_not_disturb_each_other(self, harness: PlatformHarness) -> None:
        scripts = [Script(prints=f"I am {n}\n", files={"who": str(n)}, exit_code=n) for n in range(3)]
        trials = await asyncio.gather(*map(harness.finished, scripts))
        for number, trial in enumerate(trials):
            assert trial.results.exit_code == number
            assert await trial.file("who") == str(number).encode()
            assert [f"I am {n}" in trial.log.text for n in range(3)] == [n == number for n in range(3)]

    @scenario
    async def test_a_start_that_is_cancelled_is_undone(self, harness: PlatformHarness) -> None:
        for turns in MOMENTS:
            trial = harness.trial()
            await trial.load(Script(sleeps=True))
            starting = asyncio.create_task(trial.start({}))
            for _ in range(turns):
                await asyncio.sleep(0)
            starting.cancel()
            with suppress(asyncio.CancelledError):
                await starting
            await trial.release()
            assert await self.alive() == [], "something of the run is alive after discard"

    @scenario
    async def test_a_payload_that_is_malformed_is_refused_by_check(self, harness: PlatformHarness) -> None:
        with suppress(NotSupported):
            payload = self.malformed_payload()
            with pytest.raises(MalformedPayload) as caught:
                harness.platform.check(payload)
            assert caught.value.complaints
            assert all(complaint.problem for complaint in caught.value.complaints)

    @scenario
    async def test_what_cannot_start_is_discarded(self, harness: PlatformHarness) -> None:
        try:
            payload = self.payload_that_cannot_start()
        except NotSupported:
            return

        async def fail() -> None:
            trial = harness.trial()
            with pytest.raises(TaskrunnerError):
                await self._load_and_start(trial, payload)
            await trial.release()
            assert await self.left_behind() == []

        await assert_no_descriptor_stays_open(fail, "starting what cannot start")

    @staticmethod
    async def _load_and_start(trial: Trial, payload: object) -> None:
        await trial.load_payload(payload)
        await trial.start({})

    @scenario
    async def test_a_run_leaves_no_file_open(self, harness: PlatformHarness) -> None:
        async def run() -> None:
            trial = await harness.finished(Script(prints="done\n", files={"a": "b"}))
            await trial.file("a")
            await trial.release()

        async def kill() -> None:
            trial = await harness.started(Script(sleeps=True))
            await trial.abort()

        await assert_no_descriptor_stays_open(run, "a run")
        await assert_no_descriptor_stays_open(kill, "a run that is aborted")


__all__ = ["EngineChecks"]
