"""`taskrunner run --task`: submits one task, runs it alone, and exits as it ended."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import click

from taskrunner.cli.display.text import resolution_line
from taskrunner.cli.display.view import View
from taskrunner.cli.exit_status import BROKEN, status_of
from taskrunner.cli.shared_options import as_submitter, submitter
from taskrunner.config.config import Config
from taskrunner.config.environment import home
from taskrunner.config.opening import full_config
from taskrunner.config.settings import Settings
from taskrunner.errors import NotSupported, Unavailable
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.queue import Queue, Submitter
from taskrunner.model import Submission, TaskStatus
from taskrunner.worker.start import run_worker
from taskrunner.worker.stop_condition import StopCondition

LOOK_AGAIN = 0.5
"""Seconds between two checks of a task that this worker cannot run now: it is not due, or another worker has it."""


async def run_one(settings: Settings, host: Host, submission: Submission, view: View) -> int:
    """Submits a task, runs it and nothing else, and returns the exit status that says how it ended.

    Raises: ConfigError, Conflict, Unavailable.
    """
    task = OneTask(submission)
    stop_when = StopCondition(over=task.is_resolved)
    try:
        load = await run_worker(
            settings,
            host,
            home(),
            stop_when=stop_when,
            observer=view,
            prepare=task.submit,
            patient=False,
            own_task=submission.task_id,
        )
    finally:
        await view.closed()
    status = await _last_status(await full_config(settings, host), task)
    if status.state != "resolved":
        click.echo(f"taskrunner: {status.task_id} is {status.state} now: this worker stopped ({load.why})", err=True)
    elif not status.runs and status.resolution:  # no run has shown it
        click.echo(f"taskrunner: {status.task_id}: {status.resolution}: {status.resolution.message}", err=True)
    return BROKEN if load.broken else status_of(status)


async def _last_status(config: Config, task: OneTask) -> TaskStatus:
    """The status after the end of the worker. A queue that the worker itself served cannot be asked any more."""
    try:
        async with submitter(config) as tasks:
            return await tasks.status(task.submission.task_id)
    except Unavailable:
        if task.status is None:
            raise
        return task.status


class OneTask:
    """The task of a worker that runs nothing else."""

    _tasks: Submitter
    _runs_before = 0
    status: TaskStatus | None = None
    """As it was seen last."""

    def __init__(self, submission: Submission) -> None:
        self.submission = submission

    async def submit(self, queue: Queue) -> None:
        """Nothing is submitted before the worker's configuration has proved right. A queue that cannot grant one task
        alone may grant others too. Raises CommandError, Conflict, Unavailable."""
        self._tasks = as_submitter(queue)
        if not await self._tasks.submit(self.submission):
            await _say_known(self._tasks, self.submission.task_id)
        self._runs_before = len((await self._tasks.status(self.submission.task_id)).runs)
        with suppress(NotSupported):
            queue.claim_only(self.submission.task_id)

    async def is_resolved(self) -> str:
        """Why the worker is done; empty when it is not."""
        self.status = status = await self._tasks.status(self.submission.task_id)
        if status.state == "resolved":
            return f"{status.task_id} is resolved"
        ending = status.runs[-1].resolution if len(status.runs) > self._runs_before else None
        if ending and ending.reason == "resource-unavailable":  # it may take minutes, and somebody waits
            return "what the task needs is not available; the next worker tries again"
        await asyncio.sleep(LOOK_AGAIN)  # it could not be claimed
        return ""


async def _say_known(tasks: Submitter, task_id: str) -> None:
    """Explains why a resolved task is not run again by itself: its first result may have been used."""
    status = await tasks.status(task_id)
    if status.state == "resolved":
        hint = f"`taskrunner retry {task_id}` runs it again, and a task file without an id is a new task each time"
        click.echo(f"taskrunner: {task_id} was run before: {resolution_line(status.resolution)}\n  {hint}", err=True)
