"""`taskrunner submit`, `cancel`, `retry` and `wait`: the verbs that act on tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.text import resolution_line
from taskrunner.cli.exit_status import NOTHING_DONE, TIMED_OUT, status_of
from taskrunner.cli.shared_options import (
    Seconds,
    beginning_so,
    config_option,
    found_status,
    listed,
    load_config,
    queue_option,
    submitter,
)
from taskrunner.cli.tasks.task_files import complaints_about, lenient_submission, read_task, warn
from taskrunner.cli.verb import CommandError, check_stdout, system_error, verb
from taskrunner.errors import UnknownTask
from taskrunner.interfaces.queue import Submitter
from taskrunner.model import TaskStatus


@click.command("submit")
@click.argument("path", metavar="FILE")
@click.option("--check", "only_check", is_flag=True, help="Only say whether a worker could take it.")
@click.option("--force", is_flag=True, help="Queue it although no worker can take it.")
@config_option
@queue_option
@verb
async def submit_verb(path: str, *, only_check: bool, force: bool, config_path: Path | None, queue: str | None) -> None:
    r"""Submit a task, and print its id alone.

    FILE ends in .toml, .yaml or .json; `-` reads one of them from stdin. A task with an `id` is queued once, however
    often it is submitted; one without gets a new id each time.

    A task that no worker could take is refused, with everything that is wrong with it; --force queues it, and its
    worker resolves it as malformed-payload. A platform that is not installed here is a warning: another worker may have
    it.

    \b
    Example:
      id=$(taskrunner submit hello.toml)
      taskrunner wait "$id"
      taskrunner submit --check hello.toml
    """
    if not only_check:
        check_stdout()
    document = read_task(path)
    complaints = complaints_about(document)
    if complaints and not force:
        raise CommandError("no worker can take this task:\n" + "\n".join(map(str, complaints)))
    if only_check:
        click.echo("no mistakes found")
        return
    submission = lenient_submission(document)
    async with submitter(load_config(config_path, queue=queue), may_create=True) as tasks:
        await tasks.submit(submission)
    _print_id(submission.task_id)
    if complaints:
        warn("no worker will take this task:\n" + "\n".join(map(str, complaints)))


def _print_id(task_id: str) -> None:
    """Raises CommandError, which has the id."""
    try:
        click.echo(task_id)
    except OSError as error:
        problem = system_error(error)
        raise CommandError(
            f"{task_id} is queued, and its id cannot be printed: {error.strerror}", problem.exit_code
        ) from None


@click.command("cancel")
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--message", default="", metavar="TEXT", help="The reason, which is shown with the task.")
@config_option
@queue_option
@verb
async def cancel_verb(task_ids: tuple[str, ...], message: str, config_path: Path | None, queue: str | None) -> int:
    r"""Cancel tasks, pending or running.

    Exits with 1 when one of them was resolved already. An unknown id is an error before any is cancelled.

    \b
    Example:
      taskrunner cancel hello --message "superseded by hello-2"
    """

    async def cancel(tasks: Submitter, task_id: str) -> str:
        return f"{task_id} is cancelled" if await tasks.cancel(task_id, message) else ""

    def refusal(status: TaskStatus) -> str:
        return f"{status.task_id} was resolved already: {resolution_line(status.resolution)}"

    async with submitter(load_config(config_path, queue=queue)) as tasks:
        return await _for_each(tasks, task_ids, cancel, refusal)


@click.command("retry")
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@config_option
@queue_option
@verb
async def retry_verb(task_ids: tuple[str, ...], config_path: Path | None, queue: str | None) -> int:
    r"""Run resolved tasks again.

    Exits with 1 when one of them is not resolved yet. An unknown id is an error before any is retried.

    \b
    Example:
      taskrunner retry hello
    """

    async def retry(tasks: Submitter, task_id: str) -> str:
        return f"{task_id} is pending again" if await tasks.retry(task_id) else ""

    def refusal(status: TaskStatus) -> str:
        return f"{status.task_id} is {status.state}: only a resolved task can be run again"

    async with submitter(load_config(config_path, queue=queue)) as tasks:
        return await _for_each(tasks, task_ids, retry, refusal)


async def _for_each(
    tasks: Submitter,
    task_ids: Iterable[str],
    act: Callable[[Submitter, str], Awaitable[str]],
    refusal: Callable[[TaskStatus], str],
) -> int:
    """Acts on each task and prints what `act` returns, or, when that is empty, why nothing was done."""
    for task_id in task_ids:
        await _whole_id(tasks, task_id)  # an unknown id is an error before anything is done
    status = 0
    for task_id in dict.fromkeys(task_ids):
        done = await act(tasks, task_id)
        click.echo(done or refusal(await tasks.status(task_id)))
        status = status if done else NOTHING_DONE
    return status


async def _whole_id(tasks: Submitter, task_id: str) -> None:
    """A verb that changes something takes no beginning of an id: a script whose task was never submitted must not hit
    another one. Raises CommandError, UnknownTask."""
    try:
        await tasks.status(task_id)
    except UnknownTask as unknown:
        if found := await beginning_so(tasks, task_id):
            raise CommandError(f"{unknown}: write the whole id, such as {listed(found)}") from None
        raise


@click.command("wait")
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--timeout", "seconds", type=Seconds(), metavar="SECONDS", help="Wait no longer, and exit with 124.")
@config_option
@queue_option
@verb
async def wait_verb(
    task_ids: tuple[str, ...], seconds: float | None, config_path: Path | None, queue: str | None
) -> int:
    r"""Wait until tasks are resolved, and print how each of them ended.

    The exit status is that of the worst: 0 all completed, 1 one failed, 3 one is an exception; 124 when the time was
    over.

    Each ID may be the beginning of an id, where only one task has it.

    \b
    Example:
      taskrunner wait hello --timeout 60 && echo done
    """
    async with submitter(load_config(config_path, queue=queue)) as tasks:
        found = [(await found_status(tasks, task_id)).task_id for task_id in task_ids]  # unknown ones first
        try:
            async with asyncio.timeout(seconds):
                return max(await asyncio.gather(*(_wait(tasks, task_id) for task_id in dict.fromkeys(found))))
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
