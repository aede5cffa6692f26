"""Where the log of a run is read: at its queue, from the file of its worker on this machine, or from the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path

import attrs

from taskrunner.config.environment import home_path
from taskrunner.errors import NotSupported
from taskrunner.interfaces.artifacts import INDEX_NAME, LOG_NAME, ArtifactStore
from taskrunner.interfaces.log import index_of
from taskrunner.interfaces.queue import Submitter
from taskrunner.log.reader import follow, read
from taskrunner.model import RunKey, RunStatus, TaskStatus
from taskrunner.state.journal_reader import FINAL, pruned_at, read_journal
from taskrunner.state.run_folder import RunFolder
from taskrunner.state.worker_lock import dead_workers

OpenStore = Callable[[Path], AbstractAsyncContextManager[ArtifactStore]]
"""Opens the configured store, as a worker in this home does."""


def worker_home(status: TaskStatus, run: RunKey | None) -> Path:
    """The home of a run's worker, when the queue knows it and it is on this machine; else this one. Behind a URL, which
    is the path of no folder, nothing is found, instead of a run of the same id in this home."""
    named = [each.home for each in status.runs if run and each.run_id == run.run_id and each.home]
    return Path(named[0]) if named and ("://" in named[0] or Path(named[0]).is_dir()) else home_path()


def pruned_note(status: TaskStatus, run: RunKey | None) -> str:
    """That the log and the artifacts of a run were removed, for the end of a message; empty when they were not."""
    at = removal_of(status, run) if run else None
    return f": removed on {at.astimezone():%Y-%m-%d %H:%M:%S}, by [retention] of the configuration" if at else ""


def removal_of(status: TaskStatus, run: RunKey) -> datetime | None:
    """When retention removed the log and the artifacts of a run, if it did."""
    return pruned_at(read_journal(RunFolder(worker_home(status, run), run).journal))


def home_elsewhere(run: RunStatus) -> str:
    """The home of a run's worker, if it is known and not on this machine."""
    return run.home if run.home and not Path(run.home).is_dir() else ""


@attrs.define
class RunLog:
    """The log of one run."""

    tasks: Submitter
    open_store: OpenStore
    status: TaskStatus
    run: RunKey
    _in_store: bool = False
    """Whether the bytes come from the store."""

    @property
    def home(self) -> Path:
        return worker_home(self.status, self.run)

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.home, self.run)

    async def pieces(self, offset: int, *, live: bool) -> AsyncIterator[bytes]:
        """The log from a byte offset: to its present end, or live until its worker has ended it."""
        read_any = False
        async for piece in self._growing(offset, live=live):
            read_any = True
            yield piece
        self._in_store = not read_any
        if self._in_store:
            async for piece in self._stored(LOG_NAME, offset):
                yield piece

    async def index(self, offset: int) -> AsyncIterator[bytes]:
        """The index from a byte offset to its present end; nothing when there is none."""
        elsewhere = self._in_store or self.tasks.remote_store() is not None
        async for piece in self._stored(INDEX_NAME, offset) if elsewhere else read(index_of(self.folder.log), offset):
            yield piece

    async def whole_index(self, offset: int) -> AsyncIterator[bytes]:
        """The same for a reader who has not read the log."""
        self._in_store = not self.folder.log.exists()
        async for piece in self.index(offset):
            yield piece

    async def _growing(self, offset: int, *, live: bool) -> AsyncIterator[bytes]:
        """At the queue, if it carries logs, or else from the file. Nothing when neither has it."""
        file = self.folder.log
        try:
            async for piece in self.tasks.watch_log(self.run.task_id, self.run.run_id, offset, follow=live):
                yield piece
        except NotSupported:
            async for piece in follow(file, offset, ended=self.ended) if live else read(file, offset):
                yield piece

    async def ended(self) -> bool:
        """Whether the queue has the resolution, and the worker has ended the log. A cancelled run is resolved in its
        queue before its worker has stopped it."""
        status = await self.tasks.status(self.run.task_id)
        known = [each for each in status.runs if each.run_id == self.run.run_id and each.resolved]
        return bool(known) and _is_closed(self.folder, known[0].worker_id)

    async def _stored(self, name: str, offset: int) -> AsyncIterator[bytes]:
        """From the store; nothing when it is not there."""
        async with self.open_store(self.home) as store:
            pieces = store.get(self.run, name, offset=offset)
            while piece := await _next(pieces):
                yield piece


async def _next(pieces: AsyncIterator[bytes]) -> bytes:
    """Empty at the end, and when there is no such file."""
    try:
        return await anext(pieces)
    except (StopAsyncIteration, FileNotFoundError):
        return b""


def _is_closed(folder: RunFolder, worker_id: str) -> bool:
    records = read_journal(folder.journal)
    ended = any(record.state == FINAL for record in records)
    return not records or ended or worker_id in dead_workers(folder.home)
