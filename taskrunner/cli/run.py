"""`taskrunner run`: a worker on this machine, or one task."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from taskrunner.cli.display.lines import JsonLines, Lines
from taskrunner.cli.display.task_lines import TaskLines
from taskrunner.cli.display.text import public_url
from taskrunner.cli.display.view import LogHandler, View
from taskrunner.cli.exit_status import BROKEN
from taskrunner.cli.run_task import LOOK_AGAIN, run_one
from taskrunner.cli.shared_options import check_file, config_option, json_option, queue_option, submitter
from taskrunner.cli.task_files import read_task
from taskrunner.cli.verb import CommandError, verb
from taskrunner.config.config import Config, decode_config
from taskrunner.config.environment import home
from taskrunner.config.plugins import hosts, open_queue
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.queue import Queue, Submitter
from taskrunner.limits import MAX_CAPACITY
from taskrunner.worker.start import run_worker
from taskrunner.worker.stop_condition import StopCondition


@click.command("run")
@config_option
@queue_option
@click.option(
    "--capacity", type=click.IntRange(1, MAX_CAPACITY), metavar="N", help="How many runs at a time; otherwise 1."
)
@click.option("--max-tasks", type=click.IntRange(1), metavar="N", help="Stop after N runs.")
@click.option("--idle-timeout", type=click.FloatRange(0), metavar="SECONDS", help="Stop after this time without a run.")
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
      4    the worker could not go on

    \b
    Example:
      taskrunner run --capacity 4
      taskrunner run --until-empty
      taskrunner run --task hello.toml
    """
    host = _host(config_path, {"queue": queue, "capacity": capacity})
    config = decode_config(host.load_config())
    if task_path is not None:
        if max_tasks or idle_timeout is not None or until_empty:
            raise CommandError(
                "--task runs one task and stops: it goes with none of --max-tasks, --idle-timeout, --until-empty"
            )
        submission = read_task(task_path)
        view = _view(as_json=as_json, one=True)
        return await run_one(config, host, submission, view, _opening(config, view))
    async with submitter(config) as tasks:
        over = (lambda: _nothing_pending(tasks)) if until_empty else None
        stop_when = StopCondition(tasks=max_tasks, idle=idle_timeout, over=over)
        view = _view(as_json=as_json, one=False)
        try:
            load = await run_worker(
                config, host, home(), stop_when=stop_when, observer=view, queue=_opening(config, view)
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


def _opening(config: Config, view: View) -> Callable[[str], Queue]:
    """Makes the function that opens the worker's queue and announces both to the view."""

    def open_it(worker_id: str) -> Queue:
        url = config.queue_url(home())
        opened = open_queue(url, worker_id)
        view.opened(worker_id, public_url(url), config.capacity)
        return opened

    return open_it


def _host(config_path: Path | None, flags: dict[str, Any]) -> Host:
    """The host of this worker. Only the standalone one takes a configuration from the command line so far."""
    check_file(config_path)
    standalone: Any = hosts().named("standalone")
    host: Host = standalone(config_path, flags)
    return host


async def _nothing_pending(tasks: Submitter) -> str:
    if not await tasks.pending():
        return "nothing is pending"
    await asyncio.sleep(LOOK_AGAIN)  # the pending tasks wait to be retried, so none could be claimed
    return ""
