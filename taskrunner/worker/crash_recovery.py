"""Cleaning up after workers that died: what they left is removed, and what they held is handed back at once.

A worker that is alive holds the lock on its file in the home's `workers` folder; the lock of one that was killed is
free, whatever killed it. Whoever takes that lock cleans up; nobody else can meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from taskrunner.errors import Conflict, TaskrunnerError, Unavailable
from taskrunner.files.untrusted import remove_folder
from taskrunner.log.spool import Spool, is_finished
from taskrunner.model import Resolution, exception
from taskrunner.state.journal import FINAL, Journal, Unfinished, unfinished
from taskrunner.state.worker_lock import bury, dead_workers
from taskrunner.worker.services import Services

RESOLVE_LIMIT = 30.0
"""Seconds for the queue to take a dead worker's run back; else its lease ends, which takes no longer as a rule."""

SWEEP_LIMIT = 120.0
"""Seconds for what one dead worker left in one platform."""


async def sweep(services: Services) -> list[str]:
    """Cleans up after every dead worker of this home. Returns a line for each thing found or not removed.

    The claims of its runs are handed back only when nothing of them is left, so that the task does not run twice on
    this machine. Raises nothing that only concerns one dead worker.
    """
    said = []
    for worker_id in await asyncio.to_thread(dead_workers, services.home):
        try:
            with bury(services.home, worker_id) as mine:
                if mine:
                    said += [line async for line in _bury(services, worker_id)]
        except (TaskrunnerError, OSError) as error:  # it is not forgotten, and its runs are left to their leases
            why = str(error) or "it took too long"
            said.append(f"what worker {worker_id} left, which died, cannot be removed now: {why}")
    return said


async def _bury(services: Services, worker_id: str) -> AsyncIterator[str]:
    runs = await asyncio.to_thread(unfinished, services.home, worker_id)
    used = {run.platform for run in runs} & set(services.platforms.classes)
    async with asyncio.timeout(SWEEP_LIMIT):
        found = await services.platforms.clean_up_after(worker_id, sorted(used))
    for line in found:
        yield f"cleaned up after worker {worker_id}, which died: {line}"
    for run in runs:
        for line in await asyncio.to_thread(remove_folder, run.folder.work):
            yield f"left by worker {worker_id}, which died: {line}"
        yield await _hand_back(services, run)


async def _hand_back(services: Services, run: Unfinished) -> str:
    what = f"run {run.claim.run} of worker {run.claim.worker_id}, which died,"
    ending = exception("worker-shutdown", f"worker {run.claim.worker_id} died; another one takes the task over")
    try:
        async with asyncio.timeout(RESOLVE_LIMIT):
            await services.queue.resolve(run.claim, ending)
    except (Unavailable, TimeoutError) as error:
        outcome = f"waits for its lease to end: {str(error) or 'the queue does not answer'}"
    except Conflict:
        outcome = "had been resolved by it"
    except TaskrunnerError:
        outcome = "had been taken over already"
    else:
        outcome = "was handed back"
    _close(run, ending)
    return f"{what} {outcome}"


def _close(run: Unfinished, ending: Resolution) -> None:
    """Ends the dead run's log and journal, so that both say what became of it; a log that has its end keeps it."""
    if not is_finished(run.folder.log):
        lasted = (run.records[-1].at - run.records[0].at).total_seconds()  # as far as anybody knows
        with suppress(TaskrunnerError):
            Spool.reopen(run.folder.log).finish(ending, lasted)
    with suppress(TaskrunnerError):
        journal = Journal.reopen(run.folder)
        journal.moved(FINAL, "worker_died")
        journal.close()
