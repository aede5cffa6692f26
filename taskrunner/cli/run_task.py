"""`taskrunner run --task`: submits one task, runs it alone, and exits as it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import click

from taskrunner.cli.display.text import resolution_line
from taskrunner.cli.display.view import View
from taskrunner.cli.exit_status import BROKEN, status_of
from taskrunner.cli.shared_options import submitter
from taskrunner.config.config import Config
from taskrunner.config.environment import home
from taskrunner.errors import NotSupported
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.queue import Queue, Submitter
from taskrunner.model import Submission
from taskrunner.worker.start import run_worker
from taskrunner.worker.stop_condition import StopCondition

LOOK_AGAIN = 0.5
"""Seconds between two checks of a task that this worker cannot run now: it is not due, or another worker has it."""


async def run_one(
    config: Config, host: Host, submission: Submission, view: View, open_it: Callable[[str], Queue]
) -> int:
    """Submits a task, runs it and nothing else, and returns the exit status that says how it ended.

    Raises: ConfigError, Conflict, Unavailable.
    """
    async with submitter(config) as tasks:
        if not await tasks.submit(submission):
            await _say_known(tasks, submission.task_id)
        stop_when = StopCondition(over=lambda: _resolved(tasks, submission.task_id))
        only = partial(_only, open_it, submission.task_id)
        try:
            load = await run_worker(config, host, home(), stop_when=stop_when, observer=view, queue=only, patient=False)
        finally:
            await view.closed()
        status = await tasks.status(submission.task_id)
        if status.state != "resolved":
            click.echo(
                f"taskrunner: {status.task_id} is {status.state} now: this worker stopped ({load.why})", err=True
            )
        elif not status.runs and status.resolution:  # no run has shown it
            click.echo(f"taskrunner: {status.task_id}: {status.resolution}: {status.resolution.message}", err=True)
        return BROKEN if load.broken else status_of(status)


def _only(open_it: Callable[[str], Queue], task_id: str, worker_id: str) -> Queue:
    """A queue that grants the runs of this task alone, if it supports that; otherwise it grants others too."""
    queue = open_it(worker_id)
    with suppress(NotSupported):
        queue.claim_only(task_id)
    return queue


async def _say_known(tasks: Submitter, task_id: str) -> None:
    """Explains why a resolved task is not run again by itself: its first result may have been used."""
    status = await tasks.status(task_id)
    if status.state == "resolved":
        hint = f"`taskrunner retry {task_id}` runs it again, and a task file without an id is a new task each time"
        click.echo(f"taskrunner: {task_id} was run before: {resolution_line(status.resolution)}\n  {hint}", err=True)


async def _resolved(tasks: Submitter, task_id: str) -> str:
    if (await tasks.status(task_id)).state == "resolved":
        return f"{task_id} is resolved"
    await asyncio.sleep(LOOK_AGAIN)  # it could not be claimed
    return ""
