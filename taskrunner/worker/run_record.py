"""The record of one run: its journal and its log."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping, Sequence

import attrs

from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.queue import Queue
from taskrunner.log.reader import follow
from taskrunner.log.spool import Spool
from taskrunner.machines.chart import Move
from taskrunner.machines.task import TaskState
from taskrunner.model import Claim, Json, Resolution
from taskrunner.state.journal import Journal, RunFolder
from taskrunner.worker.error_mapping import needs_traceback

FEED_LIMIT = 30.0
"""Seconds that the end of a log may take to reach its readers: a report must not wait for a slow reader."""


@attrs.define(eq=False)
class RunRecord:
    """Created when a run is claimed. Raises TaskFailedInternally if its files cannot be written."""

    folder: RunFolder
    claim: Claim
    journal: Journal = attrs.field(init=False)
    log: Spool = attrs.field(init=False)
    _began: float = attrs.field(init=False)
    closed: bool = False
    """Whether the log has its end."""

    def __attrs_post_init__(self) -> None:
        self._began = asyncio.get_running_loop().time()
        self.journal = Journal.create(self.folder, self.claim)
        self.journal.moved(TaskState.CLAIMED, "claim")
        self.log = Spool(self.folder.log)

    def moved(self, move: Move) -> None:
        if move.moved:
            self.journal.moved(move.target, move.event)

    def describe(self, error: BaseException) -> None:
        """Logs the traceback of an error that a developer of this worker or of a plug has to fix."""
        if needs_traceback(error):
            self.log.say("".join(traceback.format_exception(error)))

    def hide(self, resolution: Resolution) -> Resolution:
        """The resolution without secrets, in its message and in its result."""
        if not (resolution.message or resolution.result):
            return resolution
        result = {key: self._hide_value(value) for key, value in resolution.result.items()}
        return attrs.evolve(resolution, message=self.log.hide(resolution.message), result=result)

    def _hide_value(self, value: Json) -> Json:
        if isinstance(value, str):
            return self.log.hide(value)
        if isinstance(value, Mapping):
            return {key: self._hide_value(inner) for key, inner in value.items()}
        return [self._hide_value(inner) for inner in value] if isinstance(value, Sequence) else value

    def close_log(self, resolution: Resolution) -> None:
        """Ends the log with how and why the run ended. A second call does nothing."""
        self.log.finish(resolution, asyncio.get_running_loop().time() - self._began)
        self.closed = True

    async def keep_log(self, store: ArtifactStore) -> None:
        """Stores the log. Raises the errors of the store."""
        await store.put_log(self.claim.run, self.folder.log)

    async def feed(self, queue: Queue) -> None:
        """Sends the log to the queue, for its readers there, from the first byte to the end."""
        offset = 0
        async for chunk in follow(self.folder.log, ended=lambda: self.closed):
            await queue.append_log(self.claim, offset, chunk)
            offset += len(chunk)


def carries_logs(queue: Queue) -> bool:
    """Whether the queue passes logs on to readers."""
    return type(queue).append_log is not Queue.append_log
