"""What several verbs share: how they find the queue, how errors are told, and how a script knows what happened."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from taskrunner.config import Config, decode_config, load_settings
from taskrunner.documents import parse_document, read_document
from taskrunner.environment import home
from taskrunner.errors import MalformedPayload, TaskrunnerError
from taskrunner.interfaces.queue import Submitter
from taskrunner.model import Resolution, Submission, TaskStatus
from taskrunner.payload import decode_task, submission_of
from taskrunner.registry import open_queue, payload_classes
from taskrunner.start import queue_url

P = ParamSpec("P")
T = TypeVar("T")

USAGE = 2
"""The exit status when what was asked for is wrong: click's own."""
EXIT_STATUS = {"completed": 0, "failed": 1, "exception": 3}
"""The exit status of a verb that waited for a task."""

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Configuration; otherwise ./taskrunner.toml, or the one in your config folder.",
)
queue_option = click.option(
    "--queue", metavar="URL", help="Where tasks are kept, as sqlite:///PATH; otherwise a file under the home."
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs: JSON instead of text.")


class Complaint(click.ClickException):
    """An error of ours, told as every other error of the command line is."""

    exit_code = USAGE

    def show(self, file: Any = None) -> None:
        click.echo(f"taskrunner: {self.format_message()}", err=True, file=file)


def verb(command: Callable[P, Coroutine[Any, Any, int | None]]) -> Callable[P, None]:
    """Makes a click callback of a coroutine: its result is the exit status, and errors of ours become one message."""

    @wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            status = asyncio.run(command(*args, **kwargs))
        except MalformedPayload as error:
            raise Complaint(f"this task cannot be taken:\n{error}") from error
        except TaskrunnerError as error:
            raise Complaint(str(error)) from error
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            sys.stderr.close()  # whoever read us has gone, and Python would complain of it once more at exit
            sys.exit(141)
        sys.exit(status or 0)

    return call


def check_file(path: Path | None) -> None:
    if path and not path.is_file():
        raise Complaint(f"--config: there is no file {path}")


def load_config(path: Path | None, **flags: Any) -> Config:
    """All layers of the configuration. Raises ConfigError."""
    check_file(path)
    return decode_config(load_settings(path, flags))


@asynccontextmanager
async def submitter(config: Config) -> AsyncIterator[Submitter]:
    """The queue that a verb talks to. Raises ConfigError."""
    opened = open_queue(queue_url(config, home()))
    try:
        if not isinstance(opened, Submitter):
            raise Complaint("this queue is handed its tasks by others: nothing can be submitted to it, or asked of it")
        yield opened
    finally:
        await opened.close()


def read_task(path: str) -> Submission:
    """A task from a file, or from stdin when the path is `-`. Warns of what a worker would complain about; only what
    cannot be queued at all is refused.

    Raises: MalformedPayload.
    """
    if path == "-":
        document = parse_document(click.get_text_stream("stdin").read(), "stdin")
    else:
        document = read_document(Path(path))
    submission = submission_of(document)
    try:
        decode_task(submission.document, payload_classes())
    except MalformedPayload as error:
        click.echo(f"{path}: the worker will not take this task:\n{error}", err=True)
    return submission


def exit_status(status: TaskStatus) -> int:
    """What a script is told about a task that is resolved."""
    return EXIT_STATUS[status.resolution.kind] if status.resolution else EXIT_STATUS["exception"]


def told(resolution: Resolution | None) -> str:
    """A resolution in one line, with its colour on a terminal."""
    if resolution is None:
        return ""
    colour = {"completed": "green", "failed": "red", "exception": "magenta"}[resolution.kind]
    return click.style(str(resolution), fg=colour)
