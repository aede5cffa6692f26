"""`taskrunner schema`: the JSON Schema of a task file, and the OpenAPI document of the HTTP API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from taskrunner.cli.verb import verb
from taskrunner.config.plugins import load_platform, platforms, queues
from taskrunner.errors import ConfigError
from taskrunner.schema.json_schema import task_schema


@click.command("schema")
@click.argument("document", type=click.Choice(["task", "openapi"]))
@verb
async def schema_verb(document: str) -> None:
    r"""Print the JSON Schema of a task file, for the platforms that are installed: editors complete and check with it.
    Or the OpenAPI document of what `taskrunner serve` serves, for who writes a client.

    \b
    Example:
      taskrunner schema task > task.schema.json
      taskrunner schema openapi > taskrunner.openapi.json
    """
    made = _task() if document == "task" else queues().named("http").api_document()
    click.echo(json.dumps(made, indent=2))


def _task() -> Mapping[str, Any]:
    classes = {}
    for name in platforms():
        try:
            classes[name] = load_platform(name).payload
        except ConfigError as error:
            click.echo(f"taskrunner: left out: {error}", err=True)
    return task_schema(classes)
