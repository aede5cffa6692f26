"""One pruning of a home: runs by age and by size, then the tasks of the queue, then journals, then caches.

The order makes an interruption harmless. The log and the artifacts of a run go first, while the journal and the queue
still say what it was; then the queue forgets the task; then the journal goes. Each pruning finds what an earlier one
has begun.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import attrs

from taskrunner.blocking import OverLimit
from taskrunner.config.retention import Retention
from taskrunner.errors import Conflict, NotSupported, TaskrunnerError, Unavailable
from taskrunner.files.file_lock import open_lock_file, try_lock
from taskrunner.interfaces.queue import Submitter
from taskrunner.model import Artifact, RunKey
from taskrunner.runs.services import Services
from taskrunner.state.run_files import RunFiles, empty_trash
from taskrunner.worker.retention.outcome import Pruned
from taskrunner.worker.retention.runs import PrunableRuns, on_disk

DAY = 86400.0

LONGEST = 1800.0
"""Seconds for one pruning; the next one goes on. A home with a million runs must not be read all day."""


@attrs.define(eq=False)
class Pruning:
    """Prunes one home, again and again. Remembers what it has learnt about the artifacts of runs."""

    services: Services
    rules: Retention
    say: Callable[[str], None] = lambda _: None
    """Called with a line for each thing that goes."""
    dry_run: bool = False
    """Nothing is removed, only said and counted."""
    open_platforms: bool = False
    """Whether platforms are opened for the sake of their caches."""
    _runs: PrunableRuns = attrs.field(init=False)
    _artifacts: dict[RunKey, list[Artifact]] = attrs.field(init=False, factory=dict)
    _done: Pruned = attrs.field(init=False, factory=Pruned)
    _end: float = attrs.field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self._runs = PrunableRuns(self.services.home, self.services.store, self.services.queue)

    async def run(self) -> Pruned:
        """Prunes once.

        Raises: Conflict (another pruning of this home is under way), OSError, and the errors of the queue.
        """
        self._done, self._end = Pruned(), asyncio.get_running_loop().time() + LONGEST
        async with _only_one(self.services.home):
            if not self.dry_run:
                self._done.problems += await on_disk(partial(empty_trash, self.services.home), "emptying the trash")
            ended = [files async for files in self._runs.found()]
            await self._strip_runs(ended)
            await self._forget_tasks()
            await self._remove_journals(ended)
            await self._trim_caches()
        return self._done

    # ---- runs -------------------------------------------------------------------------------------------

    async def _strip_runs(self, found: list[RunFiles]) -> None:
        """By age, and then by size, the first ones to end first."""
        sizes: dict[RunFiles, int] = {}
        for files in sorted((files for files in found if files.size), key=lambda files: files.changed):
            await asyncio.sleep(0)  # a page of runs that are known already must not hold up the worker
            artifacts = await self._listed(files)
            size = files.size + sum(artifact.size for artifact in artifacts)
            if not (self._is_old(files, artifacts) and await self._strip(files, size)):
                sizes[files] = size
        if self.rules.run_bytes is not None:
            await self._strip_above(self.rules.run_bytes, sizes)

    async def _strip_above(self, most: int, sizes: dict[RunFiles, int]) -> None:
        total = sum(sizes.values())
        for files, size in sizes.items():
            if total <= most:
                return
            if await self._strip(files, size):
                total -= size

    async def _strip(self, files: RunFiles, size: int) -> bool:
        """Removes log and artifacts of a run, if it may go. Returns whether it did, or would have."""
        if self._late or not await self._tried(self._runs.may_go(files), files):
            return False
        if not self.dry_run and not await self._tried(self._runs.strip(files), files):
            return False
        self._artifacts.pop(files.run, None)
        self._done.runs += 1
        self._done.size += size
        self.say(f"log and artifacts of {files.run}, which ended {_day(files.changed)}")
        return True

    def _is_old(self, files: RunFiles, artifacts: list[Artifact]) -> bool:
        """By age. A run is kept whole until the last of its artifacts that have an `expires` has passed that."""
        if files.changed >= _before(self.rules.task_days):
            keeps = any(artifact.expires and artifact.expires > datetime.now(UTC) for artifact in artifacts)
            return files.changed < _before(self.rules.run_days) and not keeps
        return True  # nothing is kept of a task that is forgotten

    async def _listed(self, files: RunFiles) -> list[Artifact]:
        """The artifacts of a run that is over, without those that have expired. Raises Unavailable."""
        if files.run not in self._artifacts:
            if files.set_aside or self._late or not await self._tried(self._runs.is_over(files), files):
                return []
            self._artifacts[files.run] = []  # they do not change any more
            await self._tried(self._list(files), files)
        await self._tried(self._remove_expired(files), files)
        return self._artifacts[files.run]

    async def _list(self, files: RunFiles) -> bool:
        self._artifacts[files.run] = await self.services.store.list(files.run)
        return True

    async def _remove_expired(self, files: RunFiles) -> bool:
        now, listed = datetime.now(UTC), self._artifacts[files.run]
        expired = [artifact for artifact in listed if artifact.expires and artifact.expires <= now]
        if expired and not self.dry_run:
            await self._runs.delete_artifacts(files, [artifact.name for artifact in expired])
        self._done.expired += len(expired)
        self._artifacts[files.run] = [artifact for artifact in listed if artifact not in expired]
        return True

    async def _remove_journals(self, found: list[RunFiles]) -> None:
        if self.rules.task_days is None:
            return
        oldest = _before(self.rules.task_days)
        for files in found:
            await asyncio.sleep(0)
            if files.changed < oldest and not self._late and await self._tried(self._forgotten(files), files):
                if not self.dry_run:
                    self._done.problems += await self._runs.remove(files)
                self._done.journals += 1

    async def _forgotten(self, files: RunFiles) -> bool:
        return await self._runs.may_go(files) and (self.dry_run or await self._runs.is_forgotten(files))

    async def _tried(self, step: Awaitable[bool], files: RunFiles) -> bool:
        """An error that concerns one run is a problem, and the others are pruned all the same. Raises Unavailable."""
        try:
            return await step
        except Unavailable:
            raise
        except (TaskrunnerError, OSError) as error:
            self._done.problems.append(f"{files.run} stays: {error}")
            return False

    @property
    def _late(self) -> bool:
        return asyncio.get_running_loop().time() > self._end

    # ---- the queue and the caches -----------------------------------------------------------------------

    async def _forget_tasks(self) -> None:
        queue, days = self.services.queue, self.rules.task_days
        if days is None or not isinstance(queue, Submitter):
            return
        with suppress(NotSupported):  # it has a retention of its own
            before = datetime.now(UTC) - timedelta(days=days)
            self._done.tasks = await queue.forget(before, dry_run=self.dry_run)

    async def _trim_caches(self) -> None:
        if self.services.eviction:
            self._done.caches += await self.services.eviction.run(dry_run=self.dry_run)
        rules = self.rules
        if rules.cache_days is None and rules.cache_bytes is None:
            return
        caches = [self.services.engine_caches, *[self.services.caches(name) for name in await self._platforms()]]
        age = None if rules.cache_days is None else rules.cache_days * DAY
        for each in caches:
            self._done.caches += await each.trim(max_bytes=rules.cache_bytes, max_age=age, dry_run=self.dry_run)

    async def _platforms(self) -> list[str]:
        """The open platforms. Where it is asked for, those that are installed and have caches are opened."""
        platforms = self.services.platforms
        folder = self.services.home / "caches"
        names = await on_disk(lambda: os.listdir(folder) if folder.is_dir() else [], "listing caches")  # noqa: PTH208
        for name in sorted(set(names) & set(platforms.classes)) if self.open_platforms else ():
            try:
                await platforms.get(name)
            except (TaskrunnerError, OverLimit) as error:
                self._done.problems.append(f"the caches of {name} stay: {error}")
        return list(platforms.open_ones)


def _before(days: float | None) -> float:
    """The time of day that long ago, in seconds since 1970."""
    return time.time() - days * DAY if days is not None else float("-inf")


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d}"


@asynccontextmanager
async def _only_one(home: Path) -> AsyncIterator[None]:
    """Raises Conflict when another process prunes this home."""
    file = open_lock_file(home / "prune.lock")
    try:
        if not try_lock(file):
            raise Conflict(f"{home} is being pruned already, by a worker or by `taskrunner prune`")
        yield
    finally:
        os.close(file)
