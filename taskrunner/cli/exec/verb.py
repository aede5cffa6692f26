"""The verb `exec`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import click

from taskrunner.cli.exec.session import ClientSession
from taskrunner.cli.exec.target import find_target
from taskrunner.cli.exec.terminal import has_terminal, size_of
from taskrunner.cli.exit_status import NOT_STARTED, REFUSED, SIGNALED
from taskrunner.cli.shared_options import run_option
from taskrunner.cli.verb import CommandError, verb
from taskrunner.config.environment import home_path
from taskrunner.errors import Unavailable
from taskrunner.worker.door.client import taken_over
from taskrunner.worker.door.protocol import DoorError


class CommandAfterDashes(click.Command):
    """Leaves the words after `--` as they are, in `ctx.obj`: an option there is not ours."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.obj = tuple(args[at + 1 :])
        if not ctx.obj and not {*args} & {*self.get_help_option_names(ctx)}:
            raise click.UsageError(f"Write the command after two dashes: {ctx.command_path} TASK -- sh", ctx)
        return super().parse_args(ctx, args[:at])


@click.command("exec", cls=CommandAfterDashes)
@click.argument("task_id", metavar="TASK -- COMMAND...")
@run_option
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="One more variable; without a value, that of your own shell, which no list of processes shows.",
)
@click.option("--cwd", default="", metavar="PATH", help="Where it starts, seen from the working folder of the run.")
@click.pass_obj
@verb
async def exec_verb(
    command: tuple[str, ...], task_id: str, run_id: int | None, variables: tuple[str, ...], cwd: str
) -> int:
    r"""Run a command in a running task: with a terminal when yours is one, else with pipes.

    The command has the environment of the task, its secrets too, and runs within its limits. It ends with the run, and
    with this program. TASK may be the beginning of an id.

    \b
    Exit status:
      that of the command, or 128 and the number of the signal that ended it
      125  the task does not run here, or the connection was lost
      126  the command could not be started

    \b
    Example:
      taskrunner exec hello -- sh
      echo text | taskrunner exec hello -- cat
    """
    home = home_path()
    env = _environment(variables)
    target = await find_target(home, task_id, run_id)
    tty = has_terminal()
    size = size_of(sys.stdin.fileno()) if tty else None
    if tty and "TERM" in os.environ:
        env = {"TERM": os.environ["TERM"], **env}
    order = {"task_id": target.run.task_id, "run_id": target.run.run_id, "command": command, "tty": size}
    try:
        async with taken_over(home, target.worker_id, "exec", **order, env=env, cwd=cwd) as link:
            status = await ClientSession(link, tty).run()
    except DoorError as error:
        raise CommandError(str(error), NOT_STARTED if error.fault == "not-started" else REFUSED) from None
    except Unavailable as error:
        raise CommandError(str(error), REFUSED) from None
    return SIGNALED - status if status < 0 else status


def _environment(variables: Iterable[str]) -> dict[str, str]:
    """Raises CommandError."""
    given = {}
    for variable in variables:
        name, equals, value = variable.partition("=")
        if not equals and name not in os.environ:
            raise CommandError(f"--env: {name} is not set here; write {name}=VALUE")
        given[name] = value if equals else os.environ[name]
    return given
