"""`taskrunner list`: the newest tasks, and those that fit a selection."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import attrs
import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.text import duration, resolution_line
from taskrunner.cli.shared_options import config_option, json_option, load_config, queue_option, submitter
from taskrunner.cli.tasks.show import task_json
from taskrunner.cli.verb import verb
from taskrunner.history.run_log import removal_of
from taskrunner.interfaces.queue import Queue, Submitter
from taskrunner.model import RunKey, TaskStatus

STATES = ("pending", "running", "resolved", "completed", "failed", "exception")
DAY = 24 * 3600.0


class KeyValue(click.ParamType):  # type: ignore[type-arg]  # older versions of click have no argument here
    """`key=value`, as a pair."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, equals, wanted = str(value).partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is no key=value", param, ctx)
        return key, wanted


@click.command("list")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1), metavar="N", help="How many, the newest first."
)
@click.option("--state", type=click.Choice(STATES), help="Only tasks in this state, or that ended so.")
@click.option("--name", metavar="PATTERN", help="Only tasks of this name; * stands for any text.")
@click.option("--platform", metavar="NAME", help="Only tasks of this platform.")
@click.option("--meta", type=KeyValue(), multiple=True, metavar="KEY=VALUE", help="Only with this in their metadata.")
@config_option
@queue_option
@json_option
@verb
async def list_verb(
    *,
    limit: int,
    state: str | None,
    name: str | None,
    platform: str | None,
    meta: tuple[tuple[str, str], ...],
    config_path: Path | None,
    queue: str | None,
    as_json: bool,
) -> None:
    r"""List the newest tasks: id, age, number of runs, how they ended, platform and name.

    --state takes pending, running or resolved, and of the resolved ones completed, failed or exception. --meta compares
    text as it is, and other values as JSON; several must all fit.

    \b
    Example:
      taskrunner list --limit 5
      taskrunner list --state failed --name 'nightly *'
      taskrunner list --meta branch=main --json | jq -r '.[].task_id'
    """
    chosen = TaskFilter(state, name, platform, meta)
    async with submitter(load_config(config_path, queue=queue)) as tasks:
        found = await chosen.newest(tasks, limit)
        if not found:
            such = "such tasks" if chosen.narrow else "tasks"
            click.echo(f"taskrunner: there are no {such} in {_address(tasks)}", err=True)
    if as_json:
        click.echo(json.dumps([task_json(status) for status in found], indent=2))
        return
    for line in _table(_row(status) for status in found):
        click.echo(line)


@attrs.frozen
class TaskFilter:
    """Which tasks are listed."""

    state: str | None = None
    name: str | None = None
    platform: str | None = None
    meta: tuple[tuple[str, str], ...] = ()

    @property
    def narrow(self) -> bool:
        """Whether it leaves out any task."""
        return self != TaskFilter()

    async def newest(self, tasks: Submitter, limit: int) -> list[TaskStatus]:
        """The newest tasks that fit, at most `limit`. A queue knows no selections, so it is read until there are."""
        found: list[TaskStatus] = []
        async for status in tasks.list(limit=sys.maxsize if self.narrow else limit):
            if self.fits(status):
                found.append(status)
            if len(found) == limit:
                break
        return found

    def fits(self, status: TaskStatus) -> bool:
        document = status.submission.document
        states = {status.state, status.resolution.kind if status.resolution else ""}
        return (
            self.state in {None, *states}
            and (self.name is None or fnmatchcase(_text(document.get("name")), self.name))
            and self.platform in {None, document.get("platform")}
            and all(_has(document.get("metadata"), key, wanted) for key, wanted in self.meta)
        )


def _has(metadata: object, key: str, wanted: str) -> bool:
    if not isinstance(metadata, dict) or key not in metadata:
        return False
    value = metadata[key]
    return wanted == (value if isinstance(value, str) else json.dumps(value))


def _row(status: TaskStatus) -> tuple[str, ...]:
    gone = ", pruned" if any(removal_of(status, RunKey(status.task_id, run.run_id)) for run in status.runs) else ""
    document = status.submission.document
    return (
        status.task_id,
        _age(status.submitted),
        f"runs {len(status.runs)}{gone}",
        resolution_line(status.resolution) or status.state,
        printable(_text(document.get("platform"))),
        printable(_text(document.get("name"))),
    )


def _text(value: object) -> str:
    """A field of a document that nobody may have checked."""
    return value if isinstance(value, str) else ""


def _age(submitted: datetime) -> str:
    seconds = max(0.0, (datetime.now(UTC) - submitted).total_seconds())
    return f"{seconds / DAY:.0f} d" if seconds >= 2 * DAY else duration(seconds)


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """The cells of each row in columns; colours take no room."""
    cells = list(rows)
    widths = [max(len(click.unstyle(cell)) for cell in column) for column in zip(*cells, strict=True)]
    return [_line(row, widths) for row in cells]


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    padded = (cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True) if width)
    return "  ".join(padded).rstrip()


def _address(tasks: Submitter) -> str:
    return printable(tasks.address) if isinstance(tasks, Queue) else "the queue"
