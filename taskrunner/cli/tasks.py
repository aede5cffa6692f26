"""`taskrunner submit`, `cancel`, `retry` and `wait`: the verbs that act on tasks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.text import resolution_line
from taskrunner.cli.exit_status import NOTHING_DONE, TIMED_OUT, status_of
from taskrunner.cli.shared_options import config_option, load_config, queue_option, submitter
from taskrunner.cli.task_files import read_task, warn_of_mistakes
from taskrunner.cli.verb import verb
from taskrunner.interfaces.queue import Submitter


@click.command("submit")
@click.argument("path", metavar="FILE")
@config_option
@queue_option
@verb
async def submit_verb(path: str, config_path: Path | None, queue: str | None) -> None:
    r"""Submit a task, and print its id alone.

    FILE ends in .toml, .yaml or .json; `-` reads one of them from stdin. A task with an `id` is queued once, however
    often it is submitted; one without gets a new id each time. Mistakes in the task are printed on stderr at once; it
    is queued all the same, and the worker resolves it as malformed-payload.

    \b
    Example:
      id=$(taskrunner submit hello.toml)
      taskrunner wait "$id"
    """
    async with submitter(load_config(config_path, queue=queue)) as tasks:
        submission = read_task(path)
        await tasks.submit(submission)
    click.echo(submission.task_id)
    warn_of_mistakes(submission)


@click.command("cancel")
@click.argument("task_id", metavar="ID")
@click.option("--message", default="", metavar="TEXT", help="The reason, which is shown with the task.")
@config_option
@queue_option
@verb
async def cancel_verb(task_id: str, message: str, config_path: Path | None, queue: str | None) -> int:
    r"""Cancel a task, pending or running.

    Exits with 1 when the task was resolved already.

    \b
    Example:
      taskrunner cancel hello --message "superseded by hello-2"
    """
    async with submitter(load_config(config_path, queue=queue)) as tasks:
        if await tasks.cancel(task_id, message):
            click.echo(f"{task_id} is cancelled")
            return 0
        click.echo(f"{task_id} was resolved already: {resolution_line((await tasks.status(task_id)).resolution)}")
        return NOTHING_DONE


@click.command("retry")
@click.argument("task_id", metavar="ID")
@config_option
@queue_option
@verb
async def retry_verb(task_id: str, config_path: Path | None, queue: str | None) -> int:
    r"""Run a resolved task again.

    Exits with 1 when the task is not resolved yet.

    \b
    Example:
      taskrunner retry hello
    """
    async with submitter(load_config(config_path, queue=queue)) as tasks:
        if await tasks.retry(task_id):
            click.echo(f"{task_id} is pending again")
            return 0
        click.echo(f"{task_id} is {(await tasks.status(task_id)).state}: only a resolved task can be run again")
        return NOTHING_DONE


@click.command("wait")
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--timeout", "seconds", type=click.FloatRange(0), metavar="SECONDS", help="Wait no longer, and exit with 124."
)
@config_option
@queue_option
@verb
async def wait_verb(
    task_ids: tuple[str, ...], seconds: float | None, config_path: Path | None, queue: str | None
) -> int:
    r"""Wait until tasks are resolved, and print how each of them ended.

    The exit status is that of the worst: 0 all completed, 1 one failed, 3 one is an exception; 124 when the time was
    over.

    \b
    Example:
      taskrunner wait hello --timeout 60 && echo done
    """
    async with submitter(load_config(config_path, queue=queue)) as tasks:
        for task_id in task_ids:
            await tasks.status(task_id)  # an unknown id is an error before the wait begins
        try:
            async with asyncio.timeout(seconds):
                return max(await asyncio.gather(*(_wait(tasks, task_id) for task_id in dict.fromkeys(task_ids))))
        except TimeoutError:
            click.echo(f"taskrunner: not all are resolved after {seconds:g} s", err=True)
            return TIMED_OUT


async def _wait(tasks: Submitter, task_id: str) -> int:
    async for _ in tasks.watch(task_id):
        """Only the last status counts."""
    status = await tasks.status(task_id)
    message = status.resolution.message.partition("\n")[0] if status.resolution else ""
    click.echo(f"{task_id}  {resolution_line(status.resolution)}" + (f"  {printable(message)}" if message else ""))
    return status_of(status)
