"""The options that several verbs share, and what they choose: a configuration, a queue, a run."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import click

from taskrunner.cli.verb import CommandError
from taskrunner.config import opening
from taskrunner.config.config import Config
from taskrunner.config.environment import home, home_path
from taskrunner.config.opening import full_config, open_host
from taskrunner.config.settings import Settings, load_settings
from taskrunner.errors import NotSupported, UnknownTask
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.queue import Queue, Submitter
from taskrunner.model import RunKey, TaskStatus

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Configuration; otherwise TASKRUNNER_CONFIG, ./taskrunner.toml, or the one in your config folder.",
)
queue_option = click.option(
    "--queue",
    metavar="URL",
    help="Where tasks are kept, as sqlite:///PATH; otherwise as configured, or a file under the home.",
)
host_option = click.option(
    "--host", metavar="NAME", help="What this machine is: an installed host; otherwise as configured, or standalone."
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs: JSON instead of text.")
run_option = click.option("--run", "run_id", type=click.IntRange(0), metavar="N", help="This run; otherwise the last.")


class Duration(click.ParamType):  # type: ignore[type-arg]  # older versions of click have no argument here
    """A length of time: `90`, `30s`, `10m`, `1h30m`, `7d`. Its value is a number of seconds."""

    name = "duration"
    units: ClassVar = {"d": 86400, "h": 3600, "m": 60, "s": 1}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        parts = re.findall(r"(\d{1,9}(?:\.\d{1,9})?)([dhms]|$)", str(value))
        if not parts or "".join(map("".join, parts)) != value:
            self.fail(f"{value!r} is no length of time: write 30s, 10m, 2h, 1h30m or 7d", param, ctx)
        return sum(float(number) * self.units.get(unit, 1) for number, unit in parts)


class Seconds(click.FloatRange):
    """A number of seconds, 0 or more. `nan`, which is neither, would wait for ever."""

    def __init__(self) -> None:
        super().__init__(0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        return self.fail(f"{value!r} is no number of seconds.", param, ctx) if seconds != seconds else seconds  # noqa: PLR0124  nan


def check_file(path: Path | None) -> None:
    """Raises CommandError when `--config` names a file that does not exist."""
    if path and not path.is_file():
        raise CommandError(f"--config: there is no file {path}")


def load_config(path: Path | None, **flags: Any) -> Settings:
    """The layers of the configuration that are known without the host. Raises CommandError, ConfigError."""
    check_file(path)
    return load_settings(path, flags)


async def whole(config: Config | Settings) -> Config:
    """All layers of the configuration. Raises ConfigError, Unavailable."""
    return await full_config(config, await open_host(config, home_path())) if isinstance(config, Settings) else config


@asynccontextmanager
async def opened_store(tasks: Submitter, config: Config | Settings, at: Path) -> AsyncIterator[ArtifactStore]:
    """The store of the runs of a queue, as a worker in the home `at` has it. Raises ConfigError, Unavailable."""
    if remote := tasks.remote_store():
        yield remote
        return
    full = await whole(config)
    async with opening.opened_store(full, opening.plugin_context(full, at), at) as store:
        yield store


def as_submitter(queue: Queue | Submitter) -> Submitter:
    """The other face of a queue. Raises CommandError when it has none."""
    if isinstance(queue, Submitter):
        return queue
    elsewhere = "this queue gets its tasks from elsewhere: it takes no submissions and no queries"
    raise CommandError(f"{elsewhere} (the log of a run is runs/ID/N/log in the home)")


@asynccontextmanager
async def submitter(config: Config | Settings, *, may_create: bool = False) -> AsyncIterator[Submitter]:
    """The queue of a verb. Without `may_create`, one that is missing is an error, and nothing is made. Raises
    CommandError, ConfigError, Unavailable."""
    full = await whole(config)
    place = home() if may_create else home_path()
    opened = await opening.connect_queue(full, opening.plugin_context(full, place, may_create=may_create))
    try:
        yield as_submitter(opened)
    finally:
        await opened.close()


MOST_SHOWN = 5
"""Ids in an error about a beginning that several have."""


async def found_status(tasks: Submitter, task_id: str) -> TaskStatus:
    """The status of a task that is named by its id, or by a beginning that no other id has.

    Raises: UnknownTask, CommandError (several ids begin so).
    """
    try:
        return await tasks.status(task_id)
    except UnknownTask as unknown:
        found = await beginning_so(tasks, task_id)
        if not found:
            raise
        if len(found) > 1:
            raise CommandError(f"{unknown}; several ids begin so: {listed(found)}") from None
        return await tasks.status(found[0])


async def beginning_so(tasks: Submitter, text: str) -> Sequence[str]:
    """The ids that begin so; none when the queue cannot say that."""
    try:
        return await tasks.matching(text, limit=MOST_SHOWN + 1)
    except NotSupported:
        return []


def listed(ids: Sequence[str]) -> str:
    return ", ".join(ids[:MOST_SHOWN]) + (", …" if len(ids) > MOST_SHOWN else "")


def chosen_run(status: TaskStatus, run_id: int | None) -> RunKey | None:
    """The run that `--run` names, or the last one; None when there is none yet.

    Raises: CommandError when the task has no run of that number.
    """
    known = [run.run_id for run in status.runs]
    if run_id is not None and run_id not in known:
        has = f"it has {', '.join(map(str, known))}" if known else "it has none yet"
        raise CommandError(f"{status.task_id} has no run {run_id}: {has}")
    return RunKey(status.task_id, known[-1] if run_id is None else run_id) if known else None
