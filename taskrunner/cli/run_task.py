"""`taskrunner run --task`: one task, with its log on stdout and its story on stderr."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from taskrunner.cli.display.lines import Lines
from taskrunner.cli.display.view import View
from taskrunner.cli.options import BROKEN, exit_status, mute, submitter, told
from taskrunner.config.config import Config
from taskrunner.config.environment import home
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.queue import Queue, Submitter
from taskrunner.log.reader import follow
from taskrunner.machines.chart import Move
from taskrunner.model import Resolution, Submission
from taskrunner.queues.ledger.queue import LedgerQueue
from taskrunner.state.journal import RunFolder
from taskrunner.worker.observer import RunView
from taskrunner.worker.start import run_worker
from taskrunner.worker.stop_condition import StopCondition

LOOK_AGAIN = 0.5
"""Seconds between two looks at a task that is not ours to run now: it waits for its time, or another worker has it."""


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
        elif not status.runs and status.resolution:  # no run has told it
            click.echo(f"taskrunner: {status.task_id}: {status.resolution}: {status.resolution.message}", err=True)
        return BROKEN if load.broken else exit_status(status)


def _only(open_it: Callable[[str], Queue], task_id: str, worker_id: str) -> Queue:
    """A queue that grants nothing but this task, where it can do that; else others may be run beside it."""
    queue = open_it(worker_id)
    if isinstance(queue, LedgerQueue):
        queue.only = task_id
    return queue


async def _say_known(tasks: Submitter, task_id: str) -> None:
    """A task that was submitted before is not run again on its own: its first result may have been used."""
    status = await tasks.status(task_id)
    if status.state == "resolved":
        hint = f"`taskrunner retry {task_id}` runs it again, and a task file without an id is a new task each time"
        click.echo(f"taskrunner: {task_id} was run before: {told(status.resolution)}\n  {hint}", err=True)


async def _resolved(tasks: Submitter, task_id: str) -> str:
    if (await tasks.status(task_id)).state == "resolved":
        return f"{task_id} is resolved"
    await asyncio.sleep(LOOK_AGAIN)  # it could not be claimed just now
    return ""


class TaskLines(Lines):
    """Lines on stderr, and the log of each run on stdout as it is written. A line comes when all is there that the log
    held when it happened, so that both together tell one story.
    """

    def __init__(self) -> None:
        super().__init__()
        self._copying: dict[str, asyncio.Task[None]] = {}
        self._over: dict[str, Resolution] = {}
        self._copied: dict[str, int] = {}
        """Bytes of each run's log that are on stdout."""
        self._early: dict[str, deque[tuple[int, RunView, Move]]] = {}
        """Moves that wait for so many bytes of the log."""

    def opened(self, worker_id: str, queue: str, capacity: int) -> None:
        """The log begins with it."""

    def worker_moved(self, move: Move, why: str) -> None:
        if not why.endswith(" is resolved"):
            super().worker_moved(move, why)

    def started(self, run: RunView) -> None:
        super().started(run)
        self._copying[str(run.claim.run)] = asyncio.create_task(self._copy(run))

    def moved(self, run: RunView, move: Move) -> None:
        name, log = str(run.claim.run), _log(run)
        size = log.stat().st_size if log.exists() else 0
        if size > self._copied.get(name, 0):
            self._early.setdefault(name, deque()).append((size, run, move))
        else:
            super().moved(run, move)

    def ended(self, run: RunView, resolution: Resolution) -> None:
        self._over[str(run.claim.run)] = resolution

    async def closed(self) -> None:
        for name in self._copying.keys() - self._over.keys():
            self._copying[name].cancel()  # the worker broke down, and nothing more is written
        await asyncio.gather(*self._copying.values(), return_exceptions=True)
        await super().closed()

    async def _copy(self, run: RunView) -> None:
        name = str(run.claim.run)
        async for piece in follow(_log(run), ended=lambda: name in self._over):
            rest = piece
            while rest:
                part = rest[: self._until_next(name)]
                await asyncio.to_thread(write_out, part)
                self._copied[name] = self._copied.get(name, 0) + len(part)
                if self._catch_up(name):
                    await asyncio.to_thread(self._out.settle)
                rest = rest[len(part) :]
        super().ended(run, self._over[name])

    def _until_next(self, name: str) -> int | None:
        """Bytes of the log that come before the next line that waits for them; None: no line waits."""
        early = self._early.get(name)
        return early[0][0] - self._copied.get(name, 0) if early else None

    def _catch_up(self, name: str) -> bool:
        """Says what need not wait any more; whether there was anything."""
        early = self._early.get(name, deque())
        before = len(early)
        while early and early[0][0] <= self._copied[name]:
            _, run, move = early.popleft()
            super().moved(run, move)
        return len(early) < before


def _log(run: RunView) -> Path:
    return RunFolder(home(), run.claim.run).log


def write_out(piece: bytes) -> None:
    """Writes to stdout, for as long as somebody reads there. May block."""
    try:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except (OSError, ValueError):
        mute(sys.stdout)
