"""Crash recovery: the resources of dead workers are removed, and their runs are handed back at once.

A living worker holds the lock on its file in the home's `workers` folder; the lock of a killed one is free, whatever
killed it. The worker that takes this lock recovers; no other one can meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TypeVar

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.bounded import BoundedCalls
from taskrunner.errors import Conflict, TaskrunnerError, Unavailable
from taskrunner.files.untrusted import remove_folder
from taskrunner.log.spool import Spool, is_finished
from taskrunner.model import Resolution, exception
from taskrunner.state.journal import FINAL, Journal, Unfinished, unfinished
from taskrunner.state.worker_lock import dead_workers, recovering
from taskrunner.worker.services import Services

T = TypeVar("T")

RESOLVE_LIMIT = 30.0
"""Seconds for the queue to take a dead worker's run back; else its lease ends, which takes no longer as a rule."""

DISK_LIMIT = 600.0
"""Seconds to find a dead worker's runs, or to remove a run's folder: a million files take about a minute."""

INTERVAL = 10.0
"""Seconds between two searches for dead workers, between claims: a search is a listing of one small folder."""


@attrs.define(eq=False)
class CrashRecovery:
    """Searches for dead workers of this home, one search at a time."""

    services: Services
    calls: BoundedCalls
    _running: asyncio.Lock = attrs.field(init=False, factory=asyncio.Lock)
    _last: float = attrs.field(init=False, default=float("-inf"))
    """Start of the last search, by the loop's clock."""
    _reported: frozenset[str] = attrs.field(init=False, default=frozenset())
    """Warnings of the last search. A resource that cannot be removed is tried again each time, and reported once."""

    @property
    def due(self) -> bool:
        """Whether the last search began `INTERVAL` ago or earlier."""
        return asyncio.get_running_loop().time() - self._last >= INTERVAL

    async def run(self) -> None:
        """Recovers from every dead worker: removes all resources of their runs that can be removed.

        A run is handed back only after its resources were removed, so that a task does not run twice on this machine.
        An error that concerns one dead worker is a warning.
        """
        async with self._running:
            self._last = asyncio.get_running_loop().time()
            lines = await self._recover_all()
        for line in lines:
            if line not in self._reported:
                self.services.observer.warn(line)
        self._reported = frozenset(lines)

    async def _recover_all(self) -> list[str]:
        """A line for each resource that was found or could not be removed."""
        lines = []
        home = self.services.home
        for worker_id in await _on_disk(lambda: dead_workers(home), "looking for workers that died"):
            try:
                with recovering(home, worker_id) as locked:
                    if locked:
                        lines += [line async for line in self._recover(worker_id)]
            except (TaskrunnerError, OSError) as error:
                # It is tried again at the next search.
                lines.append(f"the resources of worker {worker_id}, which died, cannot be removed now: {error}")
        return lines

    async def _recover(self, worker_id: str) -> AsyncIterator[str]:
        platforms, home = self.services.platforms, self.services.home
        runs = await _on_disk(lambda: unfinished(home, worker_id), f"finding the runs of worker {worker_id}")
        used = {run.platform for run in runs} & set(platforms.classes)
        for line in await platforms.clean_up_after(worker_id, sorted(used)):
            yield f"cleaned up after worker {worker_id}, which died: {line}"
        for run in runs:
            work = run.folder.work
            for line in await _on_disk(lambda work=work: remove_folder(work), f"removing {work}"):  # type: ignore[misc]
                yield f"left by worker {worker_id}, which died: {line}"
            yield await self._hand_back(run)

    async def _hand_back(self, run: Unfinished) -> str:
        what = f"run {run.claim.run} of worker {run.claim.worker_id}, which died,"
        ending = exception("worker-shutdown", f"worker {run.claim.worker_id} died; another one takes the task over")
        resolving = self.services.queue.resolve(run.claim, ending)
        try:
            await self.calls.call(resolving, limit=RESOLVE_LIMIT, doing="handing back a run")
        except (Unavailable, OverLimit) as error:
            outcome = f"waits for its lease to end: {error}"
        except Conflict:
            outcome = "had been resolved by it"
        except TaskrunnerError:
            outcome = "had been taken over already"
        else:
            outcome = "was handed back"
        _close(run, ending)
        return f"{what} {outcome}"


async def _on_disk(work: Callable[[], T], doing: str) -> T:
    return await run_blocking(work, limit=DISK_LIMIT, doing=doing)


def _close(run: Unfinished, ending: Resolution) -> None:
    """Ends the dead run's log and journal with its resolution; a log that has its end keeps it."""
    if not is_finished(run.folder.log):
        lasted = (run.records[-1].at - run.records[0].at).total_seconds()  # up to its last record
        with suppress(TaskrunnerError):
            Spool.reopen(run.folder.log).finish(ending, lasted)
    with suppress(TaskrunnerError):
        journal = Journal.reopen(run.folder)
        journal.moved(FINAL, "worker_died")
        journal.close()
