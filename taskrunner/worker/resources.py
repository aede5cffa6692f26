"""What a run holds of its engine's chain, so that cleaning up at any point is letting go of whichever is held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import attrs

from taskrunner.interfaces.caches import Lease
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.results import Results

LET_GO_LIMIT = 300.0
"""Seconds for each thing to be let go of. Removing a container with a large layer takes tens of them on a busy disk."""


@attrs.define
class Resources:
    """At most one of engine, execution and results is held at a time; caches are held beside them."""

    engine: Engine | None = None
    execution: Execution | None = None
    results: Results | None = None
    leases: list[Lease] = attrs.field(factory=list)

    def started(self, execution: Execution) -> None:
        self.engine, self.execution = None, execution

    def finished(self, results: Results) -> None:
        self.execution, self.results = None, results

    async def stop(self, *, keep: bool) -> None:
        """Ends what runs; keeps its results, or throws them away. What fails is still held, and raises."""
        if self.execution is None:
            return
        if keep:
            self.finished(await self.execution.kill())
        else:
            await self.execution.abort()
            self.execution = None

    async def let_go(self, *, commit_caches: bool) -> list[str]:
        """Releases everything, each within a limit of time. Returns a line for each thing that may be left behind."""
        leaks = []
        if self.results:
            leaks += await _leak(self.results.dispose(), "the results")
        if self.execution:
            leaks += await _leak(self.execution.abort(), "the execution")
        if self.engine:
            leaks += await _leak(self.engine.discard(), "the engine")
        commit = commit_caches and not leaks
        for lease in self.leases:
            leaks += await _leak(lease.commit() if commit else lease.discard(), f"the cache {lease.folder.name}")
        self.engine = self.execution = self.results = None
        self.leases.clear()
        return leaks


async def _leak(release: Awaitable[None], what: str) -> list[str]:
    try:
        async with asyncio.timeout(LET_GO_LIMIT):
            await release
    except TimeoutError:
        return [f"{what} could not be released within {LET_GO_LIMIT:g} s"]
    except Exception as error:  # noqa: BLE001  whatever it is: it is a leak, and the rest must still be released
        return [f"{what}: {str(error) or type(error).__name__}"]
    return []
