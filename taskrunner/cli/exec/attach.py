"""The verb `attach`."""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
from contextlib import suppress

import click

from taskrunner.cli.display.sanitize import sanitize_piece
from taskrunner.cli.exec.session import ClientSession
from taskrunner.cli.exec.target import find_target
from taskrunner.cli.exit_status import REFUSED
from taskrunner.cli.shared_options import run_option
from taskrunner.cli.verb import CommandError, verb
from taskrunner.config.environment import home_path
from taskrunner.errors import Unavailable
from taskrunner.worker.door.client import taken_over
from taskrunner.worker.door.protocol import DoorError


@click.command("attach")
@click.argument("task_id", metavar="TASK")
@run_option
@verb
async def attach_verb(task_id: str, run_id: int | None) -> int:
    r"""Type into the command of a running task, and follow its output.

    The task has `interactive = true`. The end of your input, Ctrl-D at a terminal, ends that of the command. Ctrl-C
    detaches: the command goes on. TASK may be the beginning of an id.

    \b
    Exit status:
      that of the command
      125  the task does not run here or takes no input, it was stopped, or the connection was lost
      130  detached

    \b
    Example:
      taskrunner attach hello
      echo 5 | taskrunner attach hello
    """
    home = home_path()
    target = await find_target(home, task_id, run_id)
    order, text = {"task_id": target.run.task_id, "run_id": target.run.run_id}, TerminalText()
    try:
        async with taken_over(home, target.worker_id, "attach", **order) as link:
            _say(f"attached to {target.run}: Ctrl-D ends its input, Ctrl-C leaves it running")
            return await ClientSession(link, tty=False, shown=text).run()
    except (DoorError, Unavailable) as error:
        raise CommandError(str(error), REFUSED) from None
    except asyncio.CancelledError:
        _say(f"\ndetached: {target.run} goes on")
        raise
    finally:
        text.reset()


def _say(text: str) -> None:
    """For a person; a pipe gets nothing but the output."""
    if sys.stdin.isatty() and sys.stderr.isatty():
        click.echo(text, err=True)


class TerminalText:
    """Cleans what goes to a terminal. The command has none itself, so that it has no use for control sequences."""

    def __init__(self) -> None:
        self._decoders = {
            stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in (1, 2) if os.isatty(stream)
        }

    def __call__(self, stream: int, data: bytes) -> bytes:
        decoder = self._decoders.get(stream)
        return sanitize_piece(decoder.decode(data)).encode() if decoder else data

    def reset(self) -> None:
        """The terminal gets its own colours back."""
        for stream in self._decoders:
            with suppress(OSError):  # it has gone
                os.write(stream, b"\x1b[0m")
