"""`taskrunner logs`: prints or follows the log of a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import click

from taskrunner.cli.artifacts import artifact_store
from taskrunner.cli.display.log_view import LogView
from taskrunner.cli.display.stdout import print_bytes
from taskrunner.cli.exit_status import NOTHING_DONE
from taskrunner.cli.shared_options import chosen_run, config_option, load_config, queue_option, run_option, submitter
from taskrunner.cli.verb import verb
from taskrunner.config.environment import home
from taskrunner.interfaces.artifacts import INDEX_NAME, LOG_NAME
from taskrunner.interfaces.log import index_of
from taskrunner.interfaces.queue import Submitter
from taskrunner.log.reader import follow, read
from taskrunner.model import RunKey, TaskStatus
from taskrunner.state.journal import FINAL, RunFolder, read_journal
from taskrunner.state.worker_lock import dead_workers


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

    The bytes are printed as the task wrote them; on a terminal, control sequences other than colours are left out.

    With -f it waits for a pending task, and follows its run and all that come after it when it is retried.

    \b
    Example:
      taskrunner logs hello -f
      taskrunner logs hello --run 0 > first-try.log
      taskrunner logs hello --stderr --timestamps
    """
    view = LogView(timestamps=timestamps, only_stderr=only_stderr)
    async with submitter(load_config(config_path, queue=queue)) as tasks:
        status = await tasks.status(task_id)
        await print_bytes(
            _followed(view, tasks, status, run_id, offset)
            if live
            else _log_now(view, chosen_run(status, run_id), offset)
        )
    for note in view.notes():
        click.echo(f"taskrunner: {note}", err=True)
    if view.size or live or offset:
        return NOTHING_DONE if view.may_miss_stderr else 0
    click.echo(f"taskrunner: {task_id} is {status.state} and has no log" + _advice(status), err=True)
    return NOTHING_DONE


def _advice(status: TaskStatus) -> str:
    return "" if status.state == "resolved" else " yet: -f waits for it"


async def _log_now(view: LogView, run: RunKey | None, offset: int) -> AsyncIterator[bytes]:
    """The present log of a run: from its folder, or else from the store."""
    if run is None:
        return
    path = RunFolder(home(), run).log
    if path.exists():
        shown = view.show(read(path, offset), offset, partial(read, index_of(path)))
    else:
        shown = view.show(_stored(run, LOG_NAME, offset), offset, partial(_stored, run, INDEX_NAME))
    async for piece in shown:
        yield piece


async def _stored(run: RunKey, name: str, offset: int) -> AsyncIterator[bytes]:
    """A log or its index from the store, from a byte offset; nothing when it is not there."""
    with suppress(FileNotFoundError):
        async for piece in artifact_store().get(run, name, offset=offset):
            yield piece


async def _followed(
    view: LogView, tasks: Submitter, status: TaskStatus, run_id: int | None, offset: int
) -> AsyncIterator[bytes]:
    """The log of one run, or those of the last run and all later ones, until the task is resolved."""
    if run_id is not None:
        run = chosen_run(status, run_id)
        async for piece in _log_of(view, tasks, run, offset) if run else _log_now(view, None, offset):
            yield piece
        return
    first = max((run.run_id for run in status.runs), default=0)
    async for change in tasks.watch(status.task_id):
        for each in change.runs:
            if each.run_id >= first:
                async for piece in _log_of(view, tasks, RunKey(status.task_id, each.run_id), offset):
                    yield piece
                first, offset = each.run_id + 1, 0


async def _log_of(view: LogView, tasks: Submitter, run: RunKey, offset: int) -> AsyncIterator[bytes]:
    """The log of one run, until the queue has its resolution and its worker has ended the log."""
    folder = RunFolder(home(), run)

    async def ended() -> bool:
        status = await tasks.status(run.task_id)
        known = [each for each in status.runs if each.run_id == run.run_id and each.resolved]
        return bool(known) and _is_closed(folder, known[0].worker_id)

    before = view.size
    following = follow(folder.log, offset, ended=ended)
    async for piece in view.show(following, offset, partial(read, index_of(folder.log))):
        yield piece
    if view.size == before:
        async for piece in _log_now(view, run, offset):
            yield piece


def _is_closed(folder: RunFolder, worker_id: str) -> bool:
    """Whether a run's log has its end. A cancelled run is resolved in its queue before its worker has stopped it."""
    records = read_journal(folder.journal)
    return not records or any(record.state == FINAL for record in records) or worker_id in dead_workers(home())
