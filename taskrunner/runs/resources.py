"""The resources of a run: one object of its engine's chain, and its caches. A clean-up at any point releases these, in
two halves: what is alive is killed, and later what is dead is removed, which may take a while."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.bounded import BoundedCalls
from taskrunner.content.provision import Content
from taskrunner.files.untrusted import remove_folder
from taskrunner.interfaces.caches import Lease
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.results import Results

RELEASE_LIMIT = 300.0
"""Seconds to release each resource. Removing a container with a large layer takes tens of them on a busy disk."""


REMOVE_LIMIT = 300.0
"""Seconds to remove a run's folder: a million files take about a minute on a slow disk."""


@attrs.define
class Resources:
    """Holds at most one of engine, execution and results at a time, and the leases of caches and mounts."""

    calls: BoundedCalls
    engine: Engine[Any] | None = None
    execution: Execution | None = None
    results: Results | None = None
    leases: list[Lease] = attrs.field(factory=list)
    mounted: list[Content] = attrs.field(factory=list)
    """What the run has mounted, which outlives it unless it was for this run alone."""

    def started(self, execution: Execution) -> None:
        """The engine has been consumed."""
        self.engine, self.execution = None, execution

    def finished(self, results: Results) -> None:
        """The execution has been consumed."""
        self.execution, self.results = None, results

    async def stop(self) -> None:
        """Kills the execution: what it has made is left, and nothing of it is alive. If that raises, the execution is
        still held."""
        if self.execution:
            self.finished(await self.execution.kill())

    async def kill(self) -> list[str]:
        """The first half of a release: nothing is alive afterwards. An execution that could not be killed is aborted.
        Returns a line if it may be left behind."""
        if not self.execution:
            return []
        aborting, self.execution = self.execution.abort(), None
        return await self._release(aborting, "the execution")

    async def dispose(self, *, commit_caches: bool) -> list[str]:
        """The second half: removes what is left, each resource within a limit of time. Returns a line for each one that
        may be left behind."""
        leaks = []
        if self.results:
            leaks += await self._release(self.results.dispose(), "the results")
        if self.engine:
            leaks += await self._release(self.engine.discard(), "the engine")
        commit = commit_caches and not leaks
        for lease in self.leases:
            end = lease.commit() if commit else lease.discard()
            leaks += await self._release(end, f"the cache {lease.folder.name}")
        for content in self.mounted:
            leaks += await self._release(content.release(), "a mount")
        self.engine = self.results = None
        self.leases.clear()
        self.mounted.clear()
        return leaks

    async def _release(self, release: Coroutine[Any, Any, None], what: str) -> list[str]:
        try:
            await self.calls.call(release, limit=RELEASE_LIMIT, doing=f"releasing {what}")
        except OverLimit:
            return [f"{what} could not be released within {RELEASE_LIMIT:g} s"]
        except Exception as error:  # noqa: BLE001  any error is a leak, and the rest must still be released
            return [f"{what}: {str(error) or type(error).__name__}"]
        return []


async def remove_work_folder(work: Path) -> list[str]:
    """Removes the working folder of a run. Returns a line for each file that could not be removed."""
    try:
        work.rmdir()  # noqa: ASYNC240  as a rule the engine has emptied it, and a thread would cost more
    except FileNotFoundError:
        return []
    except OSError:
        return await _remove_full_folder(work)
    return []


async def _remove_full_folder(work: Path) -> list[str]:
    try:
        return await run_blocking(lambda: remove_folder(work), limit=REMOVE_LIMIT, doing=f"removing {work}")
    except OverLimit as error:
        return [str(error)]
