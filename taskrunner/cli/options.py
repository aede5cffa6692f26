"""What several verbs share: how they find the queue, how errors are told, and how a script knows what happened."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import IO, Any, ParamSpec
from urllib.parse import urlsplit

import click

from taskrunner.config.config import Config, decode_config, load_settings
from taskrunner.config.environment import home
from taskrunner.config.plugins import open_queue
from taskrunner.errors import Bug, MalformedPayload, TaskrunnerError
from taskrunner.interfaces.queue import Submitter
from taskrunner.model import Resolution, TaskStatus

P = ParamSpec("P")

USAGE = 2
"""The exit status when what was asked for is wrong: click's own."""
BROKEN = 4
"""The exit status of a worker that could not go on."""
INTERRUPTED = 130
"""The exit status after Ctrl-C: that of a shell, 128 + SIGINT."""
NO_READER = 141
"""The exit status when whoever read us has gone: 128 + SIGPIPE."""
EXIT_STATUS = {"completed": 0, "failed": 1, "exception": 3}
"""The exit status of a verb that waited for a task."""
COLOURS = {"completed": "green", "failed": "red", "exception": "magenta"}

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

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"taskrunner: {printable(self.format_message())}", err=True, file=file)


def verb(command: Callable[P, Coroutine[Any, Any, int | None]]) -> Callable[P, None]:
    """Makes a click callback of a coroutine: its result is the exit status, and errors of ours become one message. Only
    a bug shows its traceback."""

    @wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            status = asyncio.run(command(*args, **kwargs))
        except Bug:
            raise
        except MalformedPayload as error:
            raise Complaint(f"this task cannot be taken:\n{error}") from error
        except TaskrunnerError as error:
            raise Complaint(str(error)) from error
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            mute(sys.stdout)
            sys.exit(NO_READER)
        except OSError as error:
            raise Complaint(f"{error.filename or 'this machine'}: {error.strerror or error}") from error
        sys.exit(status or 0)

    return call


def mute(stream: IO[Any]) -> None:
    """Whoever read this stream has gone: from now on it leads nowhere, so that nothing complains of it again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def check_file(path: Path | None) -> None:
    """Raises Complaint when a file was named that is not there."""
    if path and not path.is_file():
        raise Complaint(f"--config: there is no file {path}")


def load_config(path: Path | None, **flags: Any) -> Config:
    """All layers of the configuration. Raises ConfigError."""
    check_file(path)
    return decode_config(load_settings(path, flags))


@asynccontextmanager
async def submitter(config: Config) -> AsyncIterator[Submitter]:
    """The queue that a verb talks to. Raises ConfigError."""
    opened = open_queue(config.queue_url(home()))
    try:
        if not isinstance(opened, Submitter):
            raise Complaint("this queue is handed its tasks by others: nothing can be submitted to it, or asked of it")
        yield opened
    finally:
        await opened.close()


def exit_status(status: TaskStatus) -> int:
    """What a script is told about a task."""
    return EXIT_STATUS[status.resolution.kind] if status.resolution else EXIT_STATUS["exception"]


def told(resolution: Resolution | None) -> str:
    """A resolution in one line, with its colour on a terminal."""
    if resolution is None:
        return ""
    return click.style(printable(str(resolution)), fg=COLOURS[resolution.kind])


def printable(text: str) -> str:
    """A text from somewhere else, which can neither move the cursor of a terminal nor give it orders."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in text)


def shown_url(url: str) -> str:
    """A URL without the password or token that it may hold."""
    parts = urlsplit(url)
    if "@" not in parts.netloc and not parts.query:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"***@{host}" if user else host, query="").geturl()
