"""The runs of a home: which of them may go, and removing their logs, artifacts and journals.

Nothing of a run goes before the run is over by its journal, and its task is resolved in the queue, or unknown there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import NotSupported, UnknownTask
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.queue import Queue, Submitter
from taskrunner.state import run_files
from taskrunner.state.leftovers import leftovers
from taskrunner.state.run_files import RunFiles
from taskrunner.state.worker_lock import known_workers

T = TypeVar("T")

DISK_LIMIT = 120.0
"""Seconds for one look at the disk, or for removing one run."""

PAGE = 50
"""Tasks whose folders are read at once: some milliseconds in a thread, in which others wait for the interpreter."""

PAUSE = 0.01
"""Seconds between two pages, for the worker's own work."""


@attrs.define(eq=False)
class PrunableRuns:
    """The runs of one home, their artifacts, and what the queue says about their tasks."""

    home: Path
    store: ArtifactStore
    queue: Queue

    async def found(self) -> AsyncIterator[RunFiles]:
        """All runs of the home, in no order. Raises OSError."""
        task_ids = await on_disk(partial(run_files.task_folders, self.home), "listing the runs")
        for begin in range(0, len(task_ids), PAGE):
            page = task_ids[begin : begin + PAGE]
            for files in await on_disk(partial(run_files.find_runs, self.home, page), "listing runs"):
                yield files
            await asyncio.sleep(PAUSE)

    async def may_go(self, files: RunFiles) -> bool:
        """Whether this run is over and its task is not open. Raises Unavailable, OSError."""
        return not await self._is_open(files.run.task_id) and await self.is_over(files)

    async def is_over(self, files: RunFiles) -> bool:
        """Whether the run has ended, by its journal and the locks of workers, and nothing that it has left behind waits
        to be removed. Raises OSError."""
        return await on_disk(partial(self._is_over, files), "reading a journal")

    def _is_over(self, files: RunFiles) -> bool:
        waits = any(leftover.run == files.run for leftover in leftovers(self.home))
        return not waits and run_files.has_ended(files, known_workers(self.home))

    async def is_forgotten(self, files: RunFiles) -> bool:
        """Whether the queue does not know the task any more, or forgets none by itself. Raises Unavailable."""
        if not isinstance(self.queue, Submitter) or type(self.queue).forget is Submitter.forget:
            return True
        try:
            await self.queue.status(files.run.task_id)
        except UnknownTask:
            return True
        return False

    async def strip(self, files: RunFiles) -> bool:
        """Removes log and artifacts, and leaves the journal, which says so. False: the folder belongs to a new run."""
        if not await on_disk(partial(run_files.mark, files), "marking a run as pruned"):
            return False
        await self.delete_artifacts(files)
        await on_disk(partial(run_files.strip, files), "removing a log")
        return True

    async def remove(self, files: RunFiles) -> list[str]:
        """Removes everything of the run. Returns a line for each thing that stayed."""
        if await self.strip(files):
            return await on_disk(partial(run_files.remove, self.home, files), "removing a run")
        return []

    async def delete_artifacts(self, files: RunFiles, names: Collection[str] | None = None) -> None:
        """Those of a store that removes nothing by itself stay."""
        if not files.set_aside:
            with suppress(NotSupported):
                await self.store.delete(files.run, names)

    async def _is_open(self, task_id: str) -> bool:
        """Whether the task may still run, or runs."""
        if not isinstance(self.queue, Submitter):
            return False
        try:
            return (await self.queue.status(task_id)).state != "resolved"
        except (UnknownTask, NotSupported):
            return False


async def on_disk(work: Callable[[], T], doing: str) -> T:
    """Blocking work in a thread. Raises OSError."""
    return await run_blocking(work, limit=DISK_LIMIT, doing=doing)
