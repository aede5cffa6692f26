"""`taskrunner run`: a worker on this machine, or one task."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

import click

from taskrunner.cli.display.lines import JsonLines, Lines
from taskrunner.cli.display.task_lines import TaskLines
from taskrunner.cli.display.view import LogHandler, View
from taskrunner.cli.exit_status import BROKEN
from taskrunner.cli.run_task import LOOK_AGAIN, run_one
from taskrunner.cli.shared_options import (
    Seconds,
    as_submitter,
    config_option,
    host_option,
    json_option,
    load_config,
    queue_option,
)
from taskrunner.cli.tasks.task_files import lenient_submission, read_task
from taskrunner.cli.verb import CommandError, verb
from taskrunner.config.environment import home
from taskrunner.config.opening import open_host
from taskrunner.interfaces.queue import Queue, Submitter
from taskrunner.limits import MAX_CAPACITY
from taskrunner.worker.start import run_worker
from taskrunner.worker.stop_condition import StopCondition


class RunCommand(click.Command):
    """Refuses a file in the place of `--task FILE`, which is what most people try first."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        files = [each for each in args if each.endswith((".toml", ".yaml", ".yml", ".json"))]
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if not files or type(error) is not click.UsageError:  # a subclass is about an option
                raise
            raise click.UsageError(f"{error.message}. To run one task: run --task {files[0]}", ctx) from None


@click.command("run", cls=RunCommand)
@config_option
@queue_option
@host_option
@click.option(
    "--capacity",
    type=click.IntRange(1, MAX_CAPACITY),
    metavar="N",
    help="How many runs at a time; otherwise as configured, or 1.",
)
@click.option("--max-tasks", type=click.IntRange(1), metavar="N", help="Stop after N runs.")
@click.option("--idle-timeout", type=Seconds(), metavar="SECONDS", help="Stop after this time without a run.")
@click.option("--until-empty", is_flag=True, help="Stop when nothing is pending and nothing runs.")
@click.option(
    "--task",
    "task_path",
    metavar="FILE",
    help="Submit this task (- reads it from stdin), run it alone, print its log, and exit as it ended.",
)
@json_option
@verb
async def run_verb(
    *,
    config_path: Path | None,
    queue: str | None,
    host: str | None,
    capacity: int | None,
    max_tasks: int | None,
    idle_timeout: float | None,
    until_empty: bool,
    task_path: str | None,
    as_json: bool,
) -> int:
    r"""Run a worker on this machine, or one task.

    A worker takes tasks from its queue until a signal stops it. SIGTERM or the first Ctrl-C: it finishes what runs;
    the second, or a closed terminal: it hands back what runs, now; the third kills it. On a terminal it shows a live
    table; elsewhere a line for each change on stderr, or with --json an object for each on stdout.

    \b
    Exit status:
      0    the worker stopped as requested; the task is completed
      1    the task failed
      2    a mistake in the call, the configuration, or the task file
      3    the task is an exception, or was handed back
      4    the worker could not go on, or what it needs does not answer now

    \b
    Example:
      taskrunner run --capacity 4
      taskrunner run --until-empty
      taskrunner run --task hello.toml
    """
    settings = load_config(config_path, queue=queue, host=host, capacity=capacity)
    this_host = await open_host(settings, home())
    if task_path is not None:
        if max_tasks or idle_timeout is not None or until_empty:
            raise CommandError(
                "--task runs one task and stops: it goes with none of --max-tasks, --idle-timeout, --until-empty"
            )
        submission = lenient_submission(read_task(task_path))
        return await run_one(settings, this_host, submission, _view(as_json=as_json, one=True))
    pending = Pending() if until_empty else None
    stop_when = StopCondition(tasks=max_tasks, idle=idle_timeout, over=pending.none_left if pending else None)
    view = _view(as_json=as_json, one=False)
    try:
        load = await run_worker(
            settings,
            this_host,
            home(),
            stop_when=stop_when,
            observer=view,
            prepare=pending.of_queue if pending else None,
        )
    finally:
        await view.closed()
    return BROKEN if load.broken else 0


def _view(*, as_json: bool, one: bool) -> View:
    view = _new_view(as_json=as_json, one=one)
    logging.getLogger().addHandler(LogHandler(view))
    return view


def _new_view(*, as_json: bool, one: bool) -> View:
    if as_json:
        return JsonLines()
    if sys.stderr and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return _live_view(one=one)
    return TaskLines() if one else Lines()


def _live_view(*, one: bool) -> View:
    """Imports rich late: that takes a while, and a service never needs it."""
    from taskrunner.cli.display.live_task import LiveTask
    from taskrunner.cli.display.live_worker import LiveWorker

    return LiveTask(home()) if one else LiveWorker(home())


class Pending:
    """The tasks that wait in the worker's queue."""

    _tasks: Submitter

    async def of_queue(self, queue: Queue) -> None:
        """Raises CommandError when the queue cannot be asked."""
        self._tasks = as_submitter(queue)

    async def none_left(self) -> str:
        """Why a worker is done that is to empty its queue; empty when it is not."""
        if not await self._tasks.pending():
            return "nothing is pending"
        await asyncio.sleep(LOOK_AGAIN)  # the pending tasks wait to be retried, so none could be claimed
        return ""
