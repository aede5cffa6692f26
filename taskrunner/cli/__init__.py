"""The command line. This module has the list of verbs and imports click alone, so that `taskrunner --help` is instant.
The module of a verb is imported when the verb is called.
"""

from __future__ import annotations

import difflib
import os
import sys
from importlib import import_module
from typing import Any

import click

VERBS = {
    "run": ("taskrunner.cli.run", "Run a worker on this machine, or one task."),
    "serve": ("taskrunner.cli.serve", "Serve the tasks of a queue over HTTP to other machines."),
    "submit": ("taskrunner.cli.tasks.control", "Submit a task; prints its id."),
    "list": ("taskrunner.cli.tasks.task_list", "List the newest tasks."),
    "show": ("taskrunner.cli.tasks.show", "Show the runs of a task, state by state."),
    "logs": ("taskrunner.cli.tasks.logs", "Print the log of a task, and follow it."),
    "artifacts": ("taskrunner.cli.tasks.artifacts", "List or fetch the artifacts of a task."),
    "cancel": ("taskrunner.cli.tasks.control", "Cancel tasks, pending or running."),
    "retry": ("taskrunner.cli.tasks.control", "Run resolved tasks again."),
    "wait": ("taskrunner.cli.tasks.control", "Wait until tasks are resolved."),
    "status": ("taskrunner.cli.workers", "Show the workers that run, and what they do."),
    "pause": ("taskrunner.cli.workers", "Let a worker take no more tasks for a while."),
    "resume": ("taskrunner.cli.workers", "End the pause of a worker."),
    "drain": ("taskrunner.cli.workers", "Let a worker finish what it runs, and stop."),
    "exec": ("taskrunner.cli.exec.verb", "Run a command, such as a shell, in a running task."),
    "attach": ("taskrunner.cli.exec.attach", "Type into the command of a running interactive task."),
    "service": ("taskrunner.cli.service", "Run the worker as a service of this machine."),
    "prune": ("taskrunner.cli.prune", "Remove what the configuration keeps no longer."),
    "states": ("taskrunner.cli.states", "Print a state machine, from its declaration."),
    "schema": ("taskrunner.cli.schema", "Print the JSON Schema of a task file."),
    "config": ("taskrunner.cli.config_check", "Check a worker's configuration."),
}
"""Verb to its module, which has it as `<verb>_verb`, and its help in one line."""


def literal(verb: click.Command) -> click.Command:
    r"""Click does not wrap the lines after a backspace. Docstrings write it as \b, so that the source has no such
    character."""
    verb.help = (verb.help or "").replace(r"\b", "\b")
    for part in verb.commands.values() if isinstance(verb, click.Group) else ():
        literal(part)
    return verb


class Verbs(click.Group):
    """A group that imports a verb when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        if cmd_name not in VERBS:
            return None
        module = import_module(VERBS[cmd_name][0])
        verb: click.Command = getattr(module, f"{cmd_name}_verb")
        return literal(verb)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if args[0].endswith((".toml", ".yaml", ".yml", ".json")):
                raise click.UsageError(f"{error.message} To run one task: run --task {args[0]}", ctx) from None
            near = difflib.get_close_matches(args[0], VERBS, n=1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]}?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  as above
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="taskrunner-worker", prog_name="taskrunner")
def taskrunner() -> None:
    r"""A task worker that you can read.

    `submit` queues a task, `run` starts a worker. All files are kept under TASKRUNNER_HOME, or in your data folder
    (~/.local/share/taskrunner).

    \b
    Example:
      id=$(taskrunner submit hello.toml)
      taskrunner run --until-empty
      taskrunner show "$id"
    """


literal(taskrunner)


def main(*arguments: Any, **settings: Any) -> Any:
    """The entry point of the `taskrunner` command."""
    _fill_closed_streams()
    try:
        return taskrunner(*arguments, **settings)
    except OSError as error:  # a help text, which click prints, on a full disk
        from taskrunner.cli.display.stdout import discard_output
        from taskrunner.cli.verb import system_error

        refusal = system_error(error)
        refusal.show()
        discard_output(sys.stdout)
        sys.exit(refusal.exit_code)


def _fill_closed_streams() -> None:
    """A command may be started without stdin, stdout or stderr. The next file that is opened, such as a database, would
    get the number of that stream, and what a library prints would be written into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
