"""`taskrunner schema`: the JSON Schema of a task file."""

from __future__ import annotations

import json

import click

from taskrunner.config.plugins import load_platform, platforms
from taskrunner.errors import ConfigError
from taskrunner.schema.json_schema import task_schema


@click.command("schema")
@click.argument("document", type=click.Choice(["task"]))
def schema_verb(document: str) -> None:  # noqa: ARG001  there is one kind so far
    r"""Print the JSON Schema of a task file, for the platforms that are installed: editors complete and check with it.

    \b
    Example:
      taskrunner schema task > task.schema.json
    """
    classes = {}
    for name in platforms():
        try:
            classes[name] = load_platform(name).payload
        except ConfigError as error:
            click.echo(f"taskrunner: left out: {error}", err=True)
    click.echo(json.dumps(task_schema(classes), indent=2))
