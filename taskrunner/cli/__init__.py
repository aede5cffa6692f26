"""The command line. This module has the list of verbs and imports click alone, so that `taskrunner --help` is instant.
The module of a verb is imported when the verb is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

VERBS = {
    "run": ("taskrunner.cli.run", "Run a worker on this machine, or one task."),
    "submit": ("taskrunner.cli.tasks", "Submit a task; prints its id."),
    "list": ("taskrunner.cli.show", "List the newest tasks."),
    "show": ("taskrunner.cli.show", "Show the runs of a task, state by state."),
    "logs": ("taskrunner.cli.logs", "Print the log of a task, and follow it."),
    "artifacts": ("taskrunner.cli.artifacts", "List or fetch the artifacts of a task."),
    "cancel": ("taskrunner.cli.tasks", "Cancel a task, pending or running."),
    "retry": ("taskrunner.cli.tasks", "Run a resolved task again."),
    "wait": ("taskrunner.cli.tasks", "Wait until tasks are resolved."),
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
    return taskrunner(*arguments, **settings)
