"""PlatformConformance: what every platform does. The author of a platform runs it::

    class TestMine(PlatformConformance):
        supports = frozenset({"caches", "stdin"})

        async def open(self, context: PlatformContext) -> MyPlatform:
            return await MyPlatform.open(MyOptions(), context)

        def payload(self, script: Script) -> MyPayload:
            return MyPayload(command=["sh", "-c", script.shell])

Every call of a test may raise the errors that its interface names, and no others.
"""

from __future__ import annotations

import attrs
import pytest

from taskrunner.errors import NotSupported, TaskFailed
from taskrunner.model import Health
from taskrunner.testing.conformance.contract import unwrapped
from taskrunner.testing.conformance.engine import EngineChecks
from taskrunner.testing.conformance.execution import ExecChecks, ExecutionChecks
from taskrunner.testing.conformance.platform_harness import PlatformHarness, scenario
from taskrunner.testing.conformance.results import ResultsChecks
from taskrunner.testing.conformance.script import Script


class PlatformConformance(EngineChecks, ExecutionChecks, ExecChecks, ResultsChecks):
    """The platform itself, and every object that it makes."""

    @scenario
    async def test_it_says_what_it_is(self, harness: PlatformHarness) -> None:
        platform = harness.platform
        assert platform.name.isidentifier()
        assert attrs.has(platform.payload)
        assert attrs.has(platform.options)
        assert isinstance(self.payload(Script()), platform.payload)

    @scenario
    async def test_its_health_is_an_answer(self, harness: PlatformHarness) -> None:
        assert isinstance(await harness.platform.health(), Health)

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
        await successor.dispose()

    @scenario
    async def test_a_run_is_recovered(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(files={"made": "so far"}, prints="up\n", sleeps=True))
        await trial.log.until("up")
        successor = await harness.opened("w2")
        if "recover" not in self.supports:
            with pytest.raises(NotSupported):
                await successor.recover(trial.execution.handle)
            return
        assert trial.execution.handle
        trial.execution = await successor.recover(trial.execution.handle)
        assert (await trial.kill()).exit_code != 0
        assert await trial.file("made") == b"so far"
        await trial.release()
        await successor.dispose()

    @scenario
    async def test_a_run_that_has_ended_is_not_recovered(self, harness: PlatformHarness) -> None:
        with pytest.raises((TaskFailed, NotSupported)) as caught:
            await harness.platform.recover("no such handle")
        if "recover" in self.supports:
            assert isinstance(caught.value, TaskFailed)
            assert caught.value.reason == "lost"

    @scenario
    async def test_every_run_has_an_engine_of_its_own(self, harness: PlatformHarness) -> None:
        engines = [unwrapped(await harness.trial().make()) for _ in range(2)]
        assert engines[0] is not engines[1]


__all__ = ["PlatformConformance"]
