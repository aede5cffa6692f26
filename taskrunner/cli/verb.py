"""A verb of the command line: a coroutine whose result is the exit status."""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import IO, Any, ParamSpec

import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.stdout import discard_output
from taskrunner.cli.exit_status import BROKEN, INTERRUPTED, NO_READER, USAGE
from taskrunner.errors import Bug, MalformedPayload, TaskrunnerError, Unavailable, WorkerBroken

P = ParamSpec("P")

PASSING = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EIO,
    errno.EAGAIN,
    errno.ETIMEDOUT,
}
"""Errors of the system that are no mistake of the operator's."""


class CommandError(click.ClickException):
    """Ends the command with one message on stderr, and the exit status 2 unless it says another."""

    def __init__(self, message: str, status: int = USAGE) -> None:
        super().__init__(message)
        self.exit_code = status  # type: ignore[misc]  # click reads it of the instance

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"taskrunner: {printable(self.format_message())}", err=True, file=file)


def system_error(error: OSError) -> CommandError:
    """One message of an error of the system."""
    status = BROKEN if error.errno in PASSING else USAGE
    return CommandError(f"{error.filename or 'this machine'}: {error.strerror or error}", status)


def check_stdout() -> None:
    """Called by a verb whose result is what it prints, before it changes anything. Raises CommandError."""
    if sys.stdout is None:  # the process was started without it
        raise CommandError("stdout is closed, and nobody would get what this prints: use > /dev/null if nobody should")


def verb(command: Callable[P, Coroutine[Any, Any, int | None]]) -> Callable[P, None]:
    """Makes a click callback of a coroutine, and one message of an expected error. Only a bug shows its traceback."""

    @wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            status = asyncio.run(command(*args, **kwargs))
        except Bug:
            raise
        except MalformedPayload as error:
            raise CommandError(f"this task cannot be taken:\n{error}") from error
        except (Unavailable, WorkerBroken) as error:
            raise CommandError(str(error), BROKEN) from error
        except TaskrunnerError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            discard_output(sys.stdout)
            sys.exit(NO_READER)
        except OSError as error:
            raise system_error(error) from error
        sys.exit(status or 0)

    return call
