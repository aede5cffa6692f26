"""A verb of the command line: a coroutine whose result is the exit status."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import IO, Any, ParamSpec

import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.stdout import discard_output
from taskrunner.cli.exit_status import INTERRUPTED, NO_READER, USAGE
from taskrunner.errors import Bug, MalformedPayload, TaskrunnerError

P = ParamSpec("P")


class CommandError(click.ClickException):
    """Ends the command with one message on stderr and the exit status 2."""

    exit_code = USAGE

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"taskrunner: {printable(self.format_message())}", err=True, file=file)


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
        except TaskrunnerError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            discard_output(sys.stdout)
            sys.exit(NO_READER)
        except OSError as error:
            raise CommandError(f"{error.filename or 'this machine'}: {error.strerror or error}") from error
        sys.exit(status or 0)

    return call
