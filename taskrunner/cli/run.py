"""`taskrunner run`: a worker on this machine, or one task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from taskrunner.cli.common import (
    Complaint,
    check_file,
    config_option,
    json_option,
    queue_option,
    read_task,
    submitter,
    verb,
)
from taskrunner.cli.lines import JsonLines, Lines
from taskrunner.cli.one import run_one
from taskrunner.config import decode_config
from taskrunner.environment import home
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.queue import Submitter
from taskrunner.registry import hosts
from taskrunner.start import run_worker
from taskrunner.worker import Until

BROKEN = 4
"""The exit status of a worker that could not go on."""


@click.command("run")
@config_option
@queue_option
@click.option("--capacity", type=click.IntRange(1, 1000), help="How many runs at a time.")
@click.option("--max-tasks", type=click.IntRange(1), metavar="N", help="Stop after N runs.")
@click.option("--idle-timeout", type=click.FloatRange(0), metavar="SECONDS", help="Stop after so long without a run.")
@click.option("--until-empty", is_flag=True, help="Stop when nothing is pending and nothing runs.")
@click.option(
    "--task",
    "task_path",
    metavar="FILE",
    help="Submit this task (- reads it from stdin), run it alone, print its log, and exit with 0, 1 or 3.",
)
@json_option
@verb
async def run_verb(
    config_path: Path | None,
    queue: str | None,
    capacity: int | None,
    max_tasks: int | None,
    idle_timeout: float | None,
    until_empty: bool,
    task_path: str | None,
    as_json: bool,
) -> int:
    """Run a worker on this machine, or one task.

    A worker takes tasks from its queue until it is told to stop. SIGTERM or the first Ctrl-C: it finishes what runs; the
    second: it hands back what runs, now. On a terminal it shows a live table; elsewhere plain lines, or JSON.

    \b
    With --task, the exit status says how the task ended: 0 completed, 1 failed, 3 exception.

    \b
    Examples:
      taskrunner run --capacity 4
      taskrunner run --until-empty
      taskrunner run --task hello.toml
    """
    host = _host(config_path, {"queue": queue, "capacity": capacity})
    config = decode_config(host.load_config())
    if task_path is not None:
        if max_tasks or idle_timeout is not None or until_empty:
            raise Complaint(
                "--task runs one task and stops: it goes with none of --max-tasks, --idle-timeout, --until-empty"
            )
        return await run_one(config, host, read_task(task_path), as_json=as_json)
    async with submitter(config) as tasks:
        over = (lambda: _nothing_pending(tasks)) if until_empty else None
        until = Until(tasks=max_tasks, idle=idle_timeout, over=over)
        load = await run_worker(config, host, home(), until=until, observer=JsonLines() if as_json else Lines())
    return BROKEN if load.broken else 0


def _host(config_path: Path | None, flags: dict[str, Any]) -> Host:
    """Where this worker lives. There is one kind of host so far that takes a configuration from the command line."""
    check_file(config_path)
    standalone: Any = hosts().named("standalone")
    host: Host = standalone(config_path, flags)
    return host


async def _nothing_pending(tasks: Submitter) -> str:
    return "" if await tasks.pending() else "nothing is pending"
