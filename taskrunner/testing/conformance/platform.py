"""PlatformConformance: what every platform does. Whoever writes one runs this::

    class TestMine(PlatformConformance):
        supports = frozenset({"caches", "stdin"})

        async def open(self, context: PlatformContext) -> MyPlatform:
            return await MyPlatform.open(MyOptions(), context)

        def payload(self, script: Script) -> MyPayload:
            return MyPayload(command=["sh", "-c", script.shell])

Every call that a test makes is held to the errors that its interface names.
"""

from __future__ import annotations

import attrs
import pytest

from taskrunner.errors import NotSupported, TaskFailed
from taskrunner.model import Health
from taskrunner.testing.conformance.contract import unwatched
from taskrunner.testing.conformance.engine import EngineChecks
from taskrunner.testing.conformance.execution import ExecChecks, ExecutionChecks
from taskrunner.testing.conformance.platform_bench import Bench, scenario
from taskrunner.testing.conformance.results import ResultsChecks
from taskrunner.testing.conformance.script import Script


class PlatformConformance(EngineChecks, ExecutionChecks, ExecChecks, ResultsChecks):
    """The platform itself, and everything that it makes."""

    @scenario
    async def test_it_says_what_it_is(self, bench: Bench) -> None:
        platform = bench.platform
        assert platform.name.isidentifier()
        assert attrs.has(platform.payload)
        assert attrs.has(platform.options)
        assert isinstance(self.payload(Script()), platform.payload)

    @scenario
    async def test_its_health_is_an_answer(self, bench: Bench) -> None:
        assert isinstance(await bench.platform.health(), Health)

    @scenario
    async def test_an_unknown_worker_has_left_nothing(self, bench: Bench) -> None:
        assert await bench.platform.clean_up_after("nobody") == []

    @scenario
    async def test_what_a_dead_worker_left_is_found_once(self, bench: Bench) -> None:
        trial = await bench.started(Script(prints="up\n", sleeps=True))
        await trial.log.until("up")
        trial.held = None  # its worker is dead, so nobody releases it
        heir = await bench.opened("w2")
        found = await heir.clean_up_after(bench.unique("w1"))
        assert all(isinstance(line, str) for line in found)
        assert await heir.clean_up_after(bench.unique("w1")) == []
        assert await self.alive() == [], "something of the run is alive after clean_up_after"
        await heir.dispose()

    @scenario
    async def test_a_run_is_found_again(self, bench: Bench) -> None:
        trial = await bench.started(Script(leaves={"made": "so far"}, prints="up\n", sleeps=True))
        await trial.log.until("up")
        heir = await bench.opened("w2")
        if "recover" not in self.supports:
            with pytest.raises(NotSupported):
                await heir.recover(trial.execution.handle)
            return
        assert trial.execution.handle
        trial.execution = await heir.recover(trial.execution.handle)
        assert (await trial.kill()).exit_code != 0
        assert await trial.file("made") == b"so far"
        await trial.release()
        await heir.dispose()

    @scenario
    async def test_a_run_that_is_gone_is_lost(self, bench: Bench) -> None:
        with pytest.raises((TaskFailed, NotSupported)) as caught:
            await bench.platform.recover("no such handle")
        if "recover" in self.supports:
            assert isinstance(caught.value, TaskFailed)
            assert caught.value.reason == "lost"

    @scenario
    async def test_every_run_has_an_engine_of_its_own(self, bench: Bench) -> None:
        engines = [unwatched(await bench.trial().make()) for _ in range(2)]
        assert engines[0] is not engines[1]


__all__ = ["PlatformConformance"]
