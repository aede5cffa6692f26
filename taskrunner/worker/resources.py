"""The resources of a run: one object of its engine's chain, and its caches. A clean-up at any point releases these."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import attrs

from taskrunner.blocking import OverLimit
from taskrunner.bounded import BoundedCalls
from taskrunner.interfaces.caches import Lease
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.results import Results

RELEASE_LIMIT = 300.0
"""Seconds to release each resource. Removing a container with a large layer takes tens of them on a busy disk."""


@attrs.define
class Resources:
    """Holds at most one of engine, execution and results at a time, and the leases of caches."""

    calls: BoundedCalls
    engine: Engine[Any] | None = None
    execution: Execution | None = None
    results: Results | None = None
    leases: list[Lease] = attrs.field(factory=list)

    def started(self, execution: Execution) -> None:
        """The engine has been consumed."""
        self.engine, self.execution = None, execution

    def finished(self, results: Results) -> None:
        """The execution has been consumed."""
        self.execution, self.results = None, results

    async def stop(self, *, keep: bool) -> None:
        """Ends the execution, and keeps or discards its results. If that raises, the execution is still held."""
        if self.execution is None:
            return
        if keep:
            self.finished(await self.execution.kill())
        else:
            await self.execution.abort()
            self.execution = None

    async def release(self, *, commit_caches: bool) -> list[str]:
        """Releases all resources, each within a limit of time. Returns a line for each that may be left behind."""
        leaks = []
        if self.results:
            leaks += await self._release(self.results.dispose(), "the results")
        if self.execution:
            leaks += await self._release(self.execution.abort(), "the execution")
        if self.engine:
            leaks += await self._release(self.engine.discard(), "the engine")
        commit = commit_caches and not leaks
        for lease in self.leases:
            end = lease.commit() if commit else lease.discard()
            leaks += await self._release(end, f"the cache {lease.folder.name}")
        self.engine = self.execution = self.results = None
        self.leases.clear()
        return leaks

    async def _release(self, release: Coroutine[Any, Any, None], what: str) -> list[str]:
        try:
            await self.calls.call(release, limit=RELEASE_LIMIT, doing=f"releasing {what}")
        except OverLimit:
            return [f"{what} could not be released within {RELEASE_LIMIT:g} s"]
        except Exception as error:  # noqa: BLE001  any error is a leak, and the rest must still be released
            return [f"{what}: {str(error) or type(error).__name__}"]
        return []
