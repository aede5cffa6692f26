"""`taskrunner logs`: prints or follows the log of a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import attrs
import click

from taskrunner.cli.display.log_view import LogView
from taskrunner.cli.display.stdout import print_bytes
from taskrunner.cli.exit_status import NOTHING_DONE
from taskrunner.cli.shared_options import (
    chosen_run,
    config_option,
    found_status,
    load_config,
    opened_store,
    queue_option,
    run_option,
    submitter,
)
from taskrunner.cli.verb import check_stdout, verb
from taskrunner.history.run_log import OpenStore, RunLog, home_elsewhere, pruned_note
from taskrunner.interfaces.queue import Submitter
from taskrunner.model import RunKey, TaskStatus


@click.command("logs")
@click.argument("task_id", metavar="ID")
@run_option
@click.option("-f", "--follow", "live", is_flag=True, help="Wait for more, until the task (or that run) is resolved.")
@click.option("-t", "--timestamps", is_flag=True, help="Begin each line with the time at which it came, in UTC.")
@click.option("--stderr", "only_stderr", is_flag=True, help="Print only what came from the task's stderr.")
@click.option("--offset", type=click.IntRange(0), default=0, metavar="BYTES", help="Leave out the first BYTES.")
@config_option
@queue_option
@verb
async def logs_verb(
    task_id: str,
    *,
    run_id: int | None,
    live: bool,
    timestamps: bool,
    only_stderr: bool,
    offset: int,
    config_path: Path | None,
    queue: str | None,
) -> int:
    r"""Print the log of a task: that of its last run, with lines of the worker's own marked [taskrunner].
    ID may be the beginning of an id, where only one task has it.

    The bytes are printed as the task wrote them; on a terminal, control sequences other than colours are left out.

    With -f it waits for a pending task, and follows its run and all that come after it when it is retried.

    It is read at the queue, if that carries logs, else where its worker writes it, when that is on this machine, else
    in the store.

    \b
    Example:
      taskrunner logs hello -f
      taskrunner logs hello --run 0 > first-try.log
      taskrunner logs hello --stderr --timestamps
    """
    check_stdout()
    view = LogView(timestamps=timestamps, only_stderr=only_stderr)
    settings = load_config(config_path, queue=queue)
    async with submitter(settings) as tasks:
        reader = LogReader(view, tasks, partial(opened_store, tasks, settings))
        status = await found_status(tasks, task_id)
        task_id = status.task_id
        await print_bytes((reader.followed if live else reader.present)(status, run_id, offset))
    for note in view.notes():
        click.echo(f"taskrunner: {note}", err=True)
    if view.size or offset or (live and not pruned_note(status, chosen_run(status, run_id))):
        return NOTHING_DONE if view.may_miss_stderr else 0
    click.echo(f"taskrunner: {task_id} is {status.state} and has no log" + _advice(status, run_id), err=True)
    return NOTHING_DONE


def _advice(status: TaskStatus, run_id: int | None) -> str:
    if gone := pruned_note(status, chosen_run(status, run_id)):
        return gone
    if status.runs and (elsewhere := home_elsewhere(status.runs[-1])):
        return f" here: the home of its worker, {elsewhere}, is not on this machine, and no store has it"
    return "" if status.state == "resolved" else " yet: -f waits for it"


@attrs.frozen
class LogReader:
    """Reads the logs of a task for a view."""

    view: LogView
    tasks: Submitter
    open_store: OpenStore

    async def present(self, status: TaskStatus, run_id: int | None, offset: int) -> AsyncIterator[bytes]:
        """The present log of one run, or that of the last one."""
        if run := chosen_run(status, run_id):
            async for piece in self._log_of(status, run.run_id, offset, live=False):
                yield piece

    async def followed(self, status: TaskStatus, run_id: int | None, offset: int) -> AsyncIterator[bytes]:
        """The log of one run, or those of the last run and all later ones, until the task is resolved."""
        if run_id is not None:
            if run := chosen_run(status, run_id):
                async for piece in self._log_of(status, run.run_id, offset, live=True):
                    yield piece
            return
        first = max((run.run_id for run in status.runs), default=0)
        async for change in self.tasks.watch(status.task_id):
            for each in change.runs:
                if each.run_id >= first:
                    async for piece in self._log_of(change, each.run_id, offset, live=True):
                        yield piece
                    first, offset = each.run_id + 1, 0

    async def _log_of(self, status: TaskStatus, run_id: int, offset: int, *, live: bool) -> AsyncIterator[bytes]:
        log = RunLog(self.tasks, self.open_store, status, RunKey(status.task_id, run_id))
        async for piece in self.view.show(log.pieces(offset, live=live), offset, log.index):
            yield piece
