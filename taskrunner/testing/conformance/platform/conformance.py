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

import asyncio

import attrs
import pytest

from taskrunner.errors import Unavailable
from taskrunner.model import Health
from taskrunner.testing.conformance.contract import unwrapped
from taskrunner.testing.conformance.platform.attachments import AttachmentChecks
from taskrunner.testing.conformance.platform.caches import CacheChecks
from taskrunner.testing.conformance.platform.dead_workers import DeadWorkerChecks
from taskrunner.testing.conformance.platform.engine import EngineChecks
from taskrunner.testing.conformance.platform.environment import EnvironmentChecks
from taskrunner.testing.conformance.platform.exec import ExecChecks
from taskrunner.testing.conformance.platform.execution import ExecutionChecks
from taskrunner.testing.conformance.platform.harness import PlatformHarness, scenario
from taskrunner.testing.conformance.platform.limits import LimitChecks
from taskrunner.testing.conformance.platform.mounts import MountChecks
from taskrunner.testing.conformance.platform.output import OutputChecks
from taskrunner.testing.conformance.platform.results import ResultsChecks
from taskrunner.testing.conformance.platform.script import Script


class PlatformConformance(
    EngineChecks,
    CacheChecks,
    MountChecks,
    AttachmentChecks,
    EnvironmentChecks,
    OutputChecks,
    LimitChecks,
    ExecutionChecks,
    ExecChecks,
    ResultsChecks,
    DeadWorkerChecks,
):
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
    async def test_every_run_has_an_engine_of_its_own(self, harness: PlatformHarness) -> None:
        engines = [unwrapped(await harness.trial().make()) for _ in range(2)]
        assert engines[0] is not engines[1]

    @scenario
    async def test_a_service_that_is_down_is_unavailable(self, harness: PlatformHarness) -> None:
        if not await self.is_down():
            return
        try:
            health = await self._health(harness, fit=False)
            assert health.why, "an operator reads what is wrong"
            with pytest.raises(Unavailable):
                await harness.trial().load(Script())
        finally:
            await self.bring_back()
        await self._health(harness, fit=True)
        assert (await harness.finished(Script(exit_code=3))).results.exit_code == 3

    async def _health(self, harness: PlatformHarness, *, fit: bool) -> Health:
        """The first answer that says so: it is refreshed in the background."""
        async with self.within(self.limit / 2):
            while (health := await harness.platform.health()).fit is not fit:  # noqa: ASYNC110  there is no event
                await asyncio.sleep(0.05)
        return health


__all__ = ["PlatformConformance"]
