"""`taskrunner run --task`: one task, with its log on stdout and its story on stderr."""

from __future__ import annotations

import asyncio

import click

from taskrunner.cli.common import exit_status, submitter
from taskrunner.cli.lines import JsonLines, Lines
from taskrunner.config import Config
from taskrunner.environment import home
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.queue import Queue, Submitter
from taskrunner.journal import RunFolder
from taskrunner.logs import follow
from taskrunner.model import Resolution, Submission
from taskrunner.observer import Sight
from taskrunner.queues.ledger_queue import LedgerQueue
from taskrunner.registry import open_queue
from taskrunner.start import queue_url, run_worker
from taskrunner.worker import Until


async def run_one(config: Config, host: Host, submission: Submission, *, as_json: bool) -> int:
    """Submits a task, runs it and nothing else, and returns the exit status that says how it ended.

    Raises: ConfigError, Conflict, Unavailable.
    """
    async with submitter(config) as tasks:
        await tasks.submit(submission)
        observer = JsonLines() if as_json else LogAndLines()
        until = Until(over=lambda: _resolved(tasks, submission.task_id))
        await run_worker(
            config,
            host,
            home(),
            until=until,
            observer=observer,
            queue=lambda worker_id: _only(config, worker_id, submission),
        )
        if isinstance(observer, LogAndLines):
            await observer.drained()
        return exit_status(await tasks.status(submission.task_id))


def _only(config: Config, worker_id: str, submission: Submission) -> Queue:
    """A queue that grants nothing but this task, where the queue can do that; else others may be run beside it."""
    queue = open_queue(queue_url(config, home()), worker_id)
    if isinstance(queue, LedgerQueue):
        queue.only = submission.task_id
    return queue


async def _resolved(tasks: Submitter, task_id: str) -> str:
    status = await tasks.status(task_id)
    return f"{task_id} is resolved" if status.state == "resolved" else ""


class LogAndLines(Lines):
    """Lines on stderr, and the log of each run on stdout as it is written."""

    def __init__(self) -> None:
        super().__init__()
        self._copying: list[asyncio.Task[None]] = []
        self._over: set[str] = set()

    def started(self, run: Sight) -> None:
        super().started(run)
        self._copying.append(asyncio.create_task(self._copy(run)))

    def ended(self, run: Sight, resolution: Resolution) -> None:
        super().ended(run, resolution)
        self._over.add(str(run.claim.run))

    async def drained(self) -> None:
        """Waits until all logs are on stdout."""
        await asyncio.gather(*self._copying)

    async def _copy(self, run: Sight) -> None:
        out = click.get_binary_stream("stdout")
        async for piece in follow(RunFolder(home(), run.claim.run).log, ended=lambda: str(run.claim.run) in self._over):
            out.write(piece)
            out.flush()
