"""RunUpload: what a run hands over at its end, each part within the time that the machine still has.

A part that fails ends the run otherwise than `completed`, and the parts after it are done all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import attrs

from taskrunner.interfaces.artifacts import Missing
from taskrunner.interfaces.results import Results
from taskrunner.model import Document, Progress, Resolution, RunKey, Task, exception
from taskrunner.runs.error_mapping import resolution_of
from taskrunner.runs.queue_report import QueueReport
from taskrunner.runs.run_record import RunRecord
from taskrunner.runs.services import Services
from taskrunner.runs.upload.artifact_upload import collect


@attrs.define(eq=False)
class RunUpload:
    """The artifacts, the result of the engine, and the log of one run."""

    services: Services
    record: RunRecord
    reporting: QueueReport
    run: RunKey
    on_progress: Callable[[Progress], None]
    on_failure: Callable[[Resolution], None]
    """Called with the resolution that replaces `completed`."""
    on_error: Callable[[BaseException], None]
    """Called with each error of a part."""
    result: Document = attrs.field(init=False, factory=dict)
    """The engine's result, as JSON values."""
    _missing: list[Missing] = attrs.field(init=False, factory=list)
    """Artifacts that the task declares, and that are not kept."""
    _end: float | None = attrs.field(init=False, default=None)
    """By the loop's clock, when the machine is about to stop."""
    _current: asyncio.Timeout | None = attrs.field(init=False, default=None)

    def end_by(self, when: float) -> None:
        """What has not ended by then, on the loop's clock, is given up."""
        self._end = min(when, self._end or when)
        self.reporting.end_by(self._end)
        if self._current:
            self._current.reschedule(self._end)

    async def collect(self, task: Task, results: Results, *, best_effort: bool) -> None:
        """Puts the artifacts into the worker's store."""
        if not task.artifacts:
            return
        await self._or_fail(
            collect(
                task.artifacts,
                results,
                self.services.store,
                self.run,
                self.record.say,
                self.on_progress,
                max_size=self.services.max_artifact_size,
                best_effort=best_effort,
                on_missing=self._missing.append,
            )
        )

    async def deliver(self, results: Results) -> None:
        """Lets the engine hand over what it must itself, such as an image, and keeps its result."""
        await self._or_fail(self._take_result(results))

    async def hand_over(self) -> None:
        """Gives log and artifacts to the queue's own store, if it has one."""
        await self._or_fail(self.reporting.hand_over(self._missing))

    async def keep_log(self) -> None:
        """Puts the log into the store. A failure is only a warning: the spool still has the log."""
        try:
            await self.record.keep_log(self.services.store)
        except Exception as error:  # noqa: BLE001  an error of the store must not fail a task
            self.on_error(error)
            self.record.journal.note(f"the log is not in the store: {error}")
            self.services.observer.warn(f"the log of {self.run} could not be kept: {error}")

    async def _take_result(self, results: Results) -> None:
        self.result = await results.deliver()

    async def _or_fail(self, work: Awaitable[None]) -> None:
        limit = asyncio.timeout_at(self._end)
        try:
            async with limit as self._current:
                await work
        except Exception as error:  # noqa: BLE001  the resolution must be reported after any error
            ending = exception("worker-shutdown", "the machine stops, and the upload was not done")
            if not limit.expired():
                self.on_error(error)
                ending = resolution_of(error)
            self.on_failure(ending)
        finally:
            self._current = None
