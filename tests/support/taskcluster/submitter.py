"""What the conformance kit needs besides a worker's queue: tasks are created and read at the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import attrs

from taskrunner.errors import Conflict, Unavailable, UnknownTask
from taskrunner.interfaces.queue import Submitter
from taskrunner.model import COMPLETED, Resolution, RunStatus, Submission, TaskState, TaskStatus
from taskrunner.queues.submission import check_submission
from tests.support.taskcluster.clock import as_text
from tests.support.taskcluster.server import TaskclusterServer
from tests.support.taskcluster.tasks import Run, ServerTask

NEVER = datetime.min.replace(tzinfo=UTC)
LEVELS = ("lowest", "very-low", "low", "medium", "high", "very-high", "highest")


@attrs.frozen
class ServerSubmitter(Submitter):
    """Submits to the server: the document is the payload of the task."""

    server: TaskclusterServer

    async def submit(self, submission: Submission) -> bool:
        self._check_up()
        check_submission(submission)
        known = self.server.tasks.known.get(submission.task_id)
        if known:
            if known.definition["payload"] != submission.document:
                raise Conflict("the id is known with another document")
            return False
        details: dict[str, Any] = {"priority": LEVELS[max(0, min(6, submission.priority + 1))]}
        details["extra"] = {"priority": submission.priority}
        if submission.deadline:
            details["deadline"] = as_text(submission.deadline)
        self.server.create(submission.task_id, submission.document, retries=submission.retries, **details)
        return True

    async def cancel(self, task_id: str, message: str = "") -> bool:
        task = self._task(task_id)
        with self.server.changing():  # a report may come in between
            open_before = task.runs[-1].state in {"pending", "running"}
            self.server.tasks.cancel(task_id)
        return open_before

    async def retry(self, task_id: str) -> bool:
        task = self._task(task_id)
        with self.server.changing():
            if task.runs[-1].state in {"pending", "running"}:
                return False
            task.retries_left = task.definition["retries"]
            task.runs.append(Run(created="rerun"))
        return True

    async def status(self, task_id: str) -> TaskStatus:
        return _status(self._task(task_id))

    async def watch(self, task_id: str) -> AsyncIterator[TaskStatus]:
        last = None
        while last is None or last.state != "resolved":
            if (found := _status(self._task(task_id))) != last:
                yield (last := found)
            await asyncio.sleep(0.01)

    def _task(self, task_id: str) -> ServerTask:
        self._check_up()
        with self.server.changing():
            if task_id not in self.server.tasks.known:
                raise UnknownTask(task_id)
            return self.server.tasks.known[task_id]

    def _check_up(self) -> None:
        if self.server.down:
            raise Unavailable("the server is down")


def _status(task: ServerTask) -> TaskStatus:
    last = task.runs[-1]
    state: TaskState = last.state if last.state in {"pending", "running"} else "resolved"  # type: ignore[assignment]
    runs = tuple(_run(number, run) for number, run in enumerate(task.runs) if run.started)
    definition = task.definition
    submission = Submission(
        task.task_id, definition["payload"], definition["extra"].get("priority", 0), definition["retries"]
    )
    created = datetime.fromisoformat(task.definition["created"])
    return TaskStatus(task.task_id, state, submission, created, runs, _resolution(last))


def _run(number: int, run: Run) -> RunStatus:
    return RunStatus(number, run.worker[1], run.started or NEVER, run.resolved, _resolution(run))


def _resolution(run: Run) -> Resolution | None:
    if run.state == "completed":
        return COMPLETED
    if run.state == "failed":
        return Resolution("failed", "failed")
    return Resolution("exception", run.reason) if run.state == "exception" else None
