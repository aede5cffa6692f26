"""TaskclusterReader: what the verbs of the command line read of tasks.

Their states are at the queue; the log and the moves of a run are in this home, if a worker of it ran the task. Tasks
are created, cancelled and run again at Taskcluster itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from taskrunner.errors import ConfigError, MalformedPayload, NotSupported, UnknownTask
from taskrunner.interfaces.queue import Submitter
from taskrunner.limits import ID_PATTERN
from taskrunner.model import COMPLETED, Resolution, RunKey, RunStatus, Submission, TaskState, TaskStatus
from taskrunner.queues.taskcluster.docker_worker.translation import PLATFORM, task_fields
from taskrunner.queues.taskcluster.service.answers import member, time_of
from taskrunner.queues.taskcluster.service.client import CallRefused, TaskclusterServices
from taskrunner.state.run_folder import RunFolder, known_runs

POLL = 2.0
"""Seconds between two looks at a task that is watched."""

_NEVER = datetime.min.replace(tzinfo=UTC)
_ELSEWHERE = "tasks of a Taskcluster are created, cancelled and run again there: by its pages, or its command line"


@attrs.frozen
class TaskclusterReader(Submitter):
    """Reads with the credentials of the worker. `home` is that of the workers on this machine."""

    services: TaskclusterServices
    home: Path

    async def submit(self, submission: Submission) -> bool:  # noqa: ARG002  it takes none
        raise NotSupported(_ELSEWHERE)

    async def cancel(self, task_id: str, message: str = "") -> bool:  # noqa: ARG002  as above
        raise NotSupported(_ELSEWHERE)

    async def retry(self, task_id: str) -> bool:  # noqa: ARG002  as above
        raise NotSupported(_ELSEWHERE)

    async def status(self, task_id: str) -> TaskStatus:
        if not re.fullmatch(ID_PATTERN, task_id):
            raise UnknownTask(task_id)
        task = await self._asked("task", task_id)
        return self._status(task_id, task, member(await self._asked("status", task_id), "status", dict))

    async def watch(self, task_id: str) -> AsyncIterator[TaskStatus]:
        last = None
        while last is None or last.state != "resolved":
            if (found := await self.status(task_id)) != last:
                yield (last := found)
            await asyncio.sleep(POLL if found.state != "resolved" else 0)

    async def list(self, *, limit: int = 100) -> AsyncIterator[TaskStatus]:
        """Those that workers of this home have run: a queue of Taskcluster lists no others."""
        for task_id in self._known()[:limit]:
            try:
                yield await self.status(task_id)
            except UnknownTask:  # it has expired there
                continue

    async def matching(self, prefix: str, *, limit: int = 10) -> Sequence[str]:
        return sorted(task_id for task_id in self._known() if prefix and task_id.startswith(prefix))[:limit]

    async def close(self) -> None:
        await self.services.close()

    async def _asked(self, method: str, task_id: str) -> Any:
        try:
            return await self.services.queue(self.services.own, method, task_id)
        except CallRefused as refused:
            if refused.status == 404:  # noqa: PLR2004  HTTP's "not found"
                raise UnknownTask(task_id) from None
            raise ConfigError(f"{self.services.root_url} does not tell {task_id}: {refused}") from None

    def _known(self) -> Sequence[str]:
        """Tasks with a run in this home, the newest first."""
        newest: dict[str, float] = {}
        for run in known_runs(self.home):
            begun = RunFolder(self.home, run).path.stat().st_ctime
            newest[run.task_id] = max(begun, newest.get(run.task_id, 0.0))
        return sorted(newest, key=lambda task_id: -newest[task_id])

    def _status(self, task_id: str, task: Mapping[str, Any], status: Mapping[str, Any]) -> TaskStatus:
        state = member(status, "state", str)
        document = {"platform": PLATFORM, **task_fields(task)}
        submission = Submission(task_id, document, 0, member(task, "retries", int), None, time_of(task.get("deadline")))
        runs = tuple(self._runs(task_id, member(status, "runs", list)))
        resolution = _resolution(state, "")
        if resolution and status["runs"]:
            resolution = _resolution(state, status["runs"][-1].get("reasonResolved"))
        return TaskStatus(task_id, _state(state), submission, _time(task.get("created")), runs, resolution)

    def _runs(self, task_id: str, runs: Sequence[Any]) -> Iterator[RunStatus]:
        """Those that a worker has begun."""
        for number, run in enumerate(runs):
            state, worker = member(run, "state", str), run.get("workerId")
            if isinstance(worker, str):
                resolved = time_of(run.get("resolved"))
                ending = _resolution(state, run.get("reasonResolved")) if resolved else None
                yield RunStatus(
                    number, worker, _time(run.get("started")), resolved, ending, self._home_of(RunKey(task_id, number))
                )

    def _home_of(self, run: RunKey) -> str:
        try:
            return str(self.home) if RunFolder(self.home, run).journal.exists() else ""
        except MalformedPayload:
            return ""


def _state(state: str) -> TaskState:
    if state in {"unscheduled", "pending"}:
        return "pending"
    return "running" if state == "running" else "resolved"


def _resolution(state: str, reason: object) -> Resolution | None:
    """The queue keeps no more of an end than the reason of an exception."""
    if state == "completed":
        return COMPLETED
    if state == "failed":
        return Resolution("failed")
    return Resolution("exception", reason if isinstance(reason, str) else "") if state == "exception" else None


def _time(value: object) -> datetime:
    return time_of(value) or _NEVER
