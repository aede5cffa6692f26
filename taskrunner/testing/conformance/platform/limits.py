"""What every engine does with the `resources` of a task, on a platform that keeps limits."""

from __future__ import annotations

from taskrunner.amounts import Amounts
from taskrunner.byte_counts import bytes_text
from taskrunner.errors import Unavailable
from taskrunner.testing.conformance.platform.harness import PlatformHarness, PlatformKit, Trial, scenario
from taskrunner.testing.conformance.platform.script import Script

MEMORY = 32 << 20
"""Bytes of a run that is to be killed for memory: a shell fits, and the kernel needs little time."""
PROCESSES = 20
"""Of a run that is to be refused more: a shell and an init process fit."""


class LimitChecks(PlatformKit):
    """A run is kept to its limits, or refused where they cannot be kept. It never runs without them."""

    @scenario
    async def test_a_run_is_kept_to_its_memory(self, harness: PlatformHarness) -> None:
        trial = await self._limited(harness, Amounts(memory=MEMORY), Script(allocates=8 * MEMORY))
        if trial is None:
            return
        results = await trial.wait()
        assert results.exit_code, f"it has {8 * MEMORY} bytes of memory, and its limit is {MEMORY}"
        assert results.reason == "out-of-memory"
        assert bytes_text(MEMORY) in results.message, "the message must name the limit"

    @scenario
    async def test_a_run_is_kept_to_its_processes(self, harness: PlatformHarness) -> None:
        trial = await self._limited(harness, Amounts(pids=PROCESSES), Script(children=2 * PROCESSES, prints="all"))
        if trial is None:
            return
        assert (await trial.wait()).exit_code, f"it has started {2 * PROCESSES} processes, and may have {PROCESSES}"
        assert "all" not in trial.log.text

    @scenario
    async def test_a_run_within_its_limits_ends_as_any_other(self, harness: PlatformHarness) -> None:
        limits = Amounts(memory=8 * MEMORY, cpus=1, pids=10 * PROCESSES)
        script = Script(allocates=MEMORY, children=2 * PROCESSES, prints="all", exit_code=3)
        trial = await self._limited(harness, limits, script)
        if trial is None:
            return
        results = await trial.wait()
        assert (results.exit_code, results.reason) == (3, "")
        assert "all" in trial.log.text

    async def _limited(self, harness: PlatformHarness, limits: Amounts, script: Script) -> Trial | None:
        """A run that has started; None when the platform keeps no limits, or cannot keep them here and says so."""
        if not harness.platform.keeps_limits:
            return None
        trial = harness.trial()
        trial.resources = limits
        try:
            await trial.load(script)
            await trial.start({})
        except Unavailable as error:
            refusal = error.message
        else:
            return trial
        assert "resources" in refusal, "the error must name the field that cannot be kept"
        return None


__all__ = ["LimitChecks"]
