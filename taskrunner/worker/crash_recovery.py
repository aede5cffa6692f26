"""Crash recovery: the resources of dead workers are removed, and their runs are handed back at once. What cannot be
removed now, of a dead worker or of a run whose own clean-up failed, is tried again until it is gone.

A living worker holds the lock on its file in the home's `workers` folder; the lock of a killed one is free, whatever
killed it. The worker that takes this lock recovers; no other one can meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.bounded import BoundedCalls
from taskrunner.errors import ClaimLost, Conflict, NotSupported, TaskrunnerError, Unavailable
from taskrunner.files.untrusted import remove_folder
from taskrunner.log.spool import Spool, is_finished
from taskrunner.model import Resolution, RunKey, exception
from taskrunner.runs.services import Services
from taskrunner.runs.upload.hand_over import HandOver
from taskrunner.state.journal import Journal
from taskrunner.state.journal_reader import FINAL, Unfinished, is_over, unfinished
from taskrunner.state.leftovers import Leftover, forget_leftover, leftovers, note_leftover, removing_leftovers
from taskrunner.state.run_folder import RunFolder, remove_link
from taskrunner.state.worker_lock import dead_workers, is_alive, noted_platforms, recovering

T = TypeVar("T")

RESOLVE_LIMIT = 30.0
"""Seconds for the queue to take a dead worker's run back; else its lease ends, which takes no longer as a rule."""

UPLOAD_LIMIT = 60.0
"""Seconds to upload the logs of a dead worker's runs, all at once: the worker begins after that."""

DISK_LIMIT = 600.0
"""Seconds to find a dead worker's runs, or to remove a run's folder: a million files take about a minute."""

INTERVAL = 10.0
"""Seconds between two searches: a search is a listing of two small folders."""


@attrs.define(eq=False)
class CrashRecovery:
    """Searches for dead workers of this home, and for what any worker could not remove, one search at a time."""

    services: Services
    calls: BoundedCalls
    _running: asyncio.Lock = attrs.field(init=False, factory=asyncio.Lock)
    _reported: frozenset[str] = attrs.field(init=False, default=frozenset())
    """Warnings of the last search. A resource that cannot be removed is tried again each time, and reported once."""

    async def repeat(self) -> None:
        """Searches again and again, whatever the worker does meanwhile."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.run()
            except OSError as error:  # the next search may succeed, and runs go on meanwhile
                self._report([f"dead workers and what was left cannot be searched for now: {error}"])

    async def run(self) -> None:
        """Recovers from every dead worker: removes all resources of their runs that can be removed. Then tries again
        what earlier clean-ups have left.

        A run is handed back only after its resources were removed, so that a task does not run twice on this machine.
        An error that concerns one dead worker or one run is a warning.
        """
        async with self._running:
            self._report([*await self._recover_all(), *await self._retry_all()])

    def _report(self, lines: list[str]) -> None:
        for line in lines:
            if line not in self._reported:
                self.services.observer.warn(line)
        self._reported = frozenset(lines)

    # ---- dead workers -----------------------------------------------------------------------------------

    async def _recover_all(self) -> list[str]:
        """A line for each resource that was found or could not be removed."""
        lines: list[str] = []
        home = self.services.home
        for worker_id in await _on_disk(lambda: dead_workers(home), "looking for workers that died"):
            try:
                with recovering(home, worker_id) as locked:
                    if locked:
                        await self._recover(worker_id, lines)
            except (TaskrunnerError, OSError) as error:
                # It is tried again at the next search.
                lines.append(f"the resources of worker {worker_id}, which died, cannot be removed now: {error}")
        return lines

    async def _recover(self, worker_id: str, lines: list[str]) -> None:
        """Raises Unavailable when something is left."""
        home = self.services.home
        runs = await _on_disk(lambda: unfinished(home, worker_id), f"finding the runs of worker {worker_id}")
        noted = await _on_disk(lambda: noted_platforms(home, worker_id), "finding its platforms")
        used = noted | {run.platform for run in runs} & set(self.services.platforms.classes)
        problems = {name: await self._clean_up_after(worker_id, name, lines) for name in sorted(used)}
        ended: list[Unfinished] = []
        for run in runs:
            if not problems.get(run.platform):
                await self._clean_up_folder(run, lines)
                if await self._hand_back(run, lines):
                    ended.append(run)
        lines += filter(None, await asyncio.gather(*map(self._upload_log, ended)))
        if left := [problem for problem in problems.values() if problem]:
            note_leftover(home, worker_id, None, "", left)
            raise Unavailable("; ".join(left))
        forget_leftover(home, worker_id, None)

    async def _clean_up_after(self, worker_id: str, name: str, lines: list[str]) -> str:
        """Why not everything in a platform was removed; empty when it was."""
        try:
            found = await self.services.platforms.clean_up_after(worker_id, [name])
        except Exception as error:  # noqa: BLE001  a bug of one plugin must not keep what the others have
            return _text(error)
        lines += [f"cleaned up after worker {worker_id}, which died: {line}" for line in found]
        return ""

    async def _clean_up_folder(self, run: Unfinished, lines: list[str]) -> None:
        """The files of the run: its folder, and what it has begun to upload."""
        worker_id, work = run.claim.worker_id, run.folder.work
        if left := await _on_disk(lambda: _remove_work(run.folder), f"removing {work}"):
            lines += [f"left by worker {worker_id}, which died: {line}" for line in left]
            note_leftover(self.services.home, worker_id, run.claim.run, run.platform, left)
        with suppress(TaskrunnerError):  # the store is out of reach: it knows itself what is unfinished
            await self.services.store.discard_unfinished(run.claim.run)

    # ---- what earlier clean-ups have left ---------------------------------------------------------------

    async def _retry_all(self) -> list[str]:
        """A line for each thing that was removed or is still there."""
        home, lines = self.services.home, list[str]()
        try:
            with removing_leftovers(home) as locked:
                if locked:
                    for leftover in await _on_disk(lambda: leftovers(home), "reading what was left"):
                        lines += await self._retry(leftover)
        except OSError as error:
            lines.append(f"what was left cannot be removed now: {error}")
        return lines

    async def _retry(self, leftover: Leftover) -> list[str]:
        home, run = self.services.home, leftover.run
        if run is None:
            return []  # recovery from that worker tries it
        folder = RunFolder(home, run)
        if not await _on_disk(lambda: is_over(folder), f"reading the journal of {run}"):
            return []  # its worker cleans up, or recovery from that worker does
        lines, problems = list[str](), list[str]()
        try:
            lines += await self._clean_up_run(leftover, run)
            problems += await _on_disk(lambda: _remove_work(folder), f"removing {folder.work}")
        except Exception as error:  # noqa: BLE001  a bug of a plugin must not end the worker again and again
            problems.append(_text(error))
        if problems:
            note_leftover(home, leftover.worker_id, run, leftover.platform, problems)
            return [f"still left by run {run}: {problem}" for problem in problems]
        forget_leftover(home, leftover.worker_id, run)
        return [f"nothing is left any more by run {run}: {', '.join(lines) or 'it is gone'}"]

    async def _clean_up_run(self, leftover: Leftover, run: RunKey) -> list[str]:
        platforms, worker_id = self.services.platforms, leftover.worker_id
        if not leftover.platform:
            return []
        try:
            return await platforms.clean_up_run(leftover.platform, worker_id, run)
        except NotSupported:
            if is_alive(self.services.home, worker_id):
                raise Unavailable(f"it waits for the end of worker {worker_id}") from None
            return await platforms.clean_up_after(worker_id, [leftover.platform])

    # ---- queue, log and journal -------------------------------------------------------------------------

    async def _hand_back(self, run: Unfinished, lines: list[str]) -> bool:
        """Whether the queue has the end of the run from its claim."""
        what = f"run {run.claim.run} of worker {run.claim.worker_id}, which died,"
        ending = exception("worker-shutdown", f"worker {run.claim.worker_id} died during this run")
        resolving = self.services.queue.resolve(run.claim, ending)
        ended = False
        try:
            await self.calls.call(resolving, limit=RESOLVE_LIMIT, doing="handing back a run")
        except (Unavailable, OverLimit) as error:
            outcome = f"waits for its lease to end: {error}"
        except Conflict:
            outcome, ended = "had been resolved by it", True
        except ClaimLost as lost:
            outcome = "ended with its peer" if lost.why == "disconnected" else "had been taken over already"
        except TaskrunnerError as error:
            outcome = f"cannot be handed back: {error}"
        else:
            outcome, ended = "was handed back", True
        _close(run, ending)
        lines.append(f"{what} {outcome}")
        return ended

    async def _upload_log(self, run: Unfinished) -> str:
        """Gives the log to a queue that takes it after the end of the run. Returns why it was not taken; an empty text
        when it was, or when the queue wants none."""
        queue = self.services.queue
        store = queue.artifacts(lambda: run.claim) if queue.capabilities.late_artifacts else None
        if store is None:
            return ""
        copying = HandOver(self.services.store, store, run.claim.run, self.calls).copy_log(run.folder.log)
        try:
            await self.calls.call(copying, limit=UPLOAD_LIMIT, doing="uploading the log of a run")
        except ClaimLost:  # it was no exception: its worker had uploaded the log before
            return ""
        except (Unavailable, OverLimit) as error:
            return f"the log of run {run.claim.run}, whose worker died, is on this machine only: {error}"
        return ""


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, TaskrunnerError | OSError) else f"{type(error).__name__}: {error}"


async def _on_disk(work: Callable[[], T], doing: str) -> T:
    return await run_blocking(work, limit=DISK_LIMIT, doing=doing)


def _remove_work(folder: RunFolder) -> list[str]:
    """A line for each thing that stays. Raises OSError."""
    remove_link(folder)
    return remove_folder(folder.work)


def _close(run: Unfinished, ending: Resolution) -> None:
    """Ends the dead run's log and journal with its resolution; a log that has its end keeps it."""
    if not is_finished(run.folder.log):
        lasted = max(0.0, (run.records[-1].at - run.records[0].at).total_seconds())  # up to its last record
        with suppress(TaskrunnerError):
            Spool.reopen(run.folder.log).finish(ending, lasted)
    with suppress(TaskrunnerError):
        journal = Journal.reopen(run.folder)
        journal.moved(FINAL, "worker_died")
        journal.close()
