"""The options that several verbs share, and what they choose: a configuration, a queue, a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click

from taskrunner.cli.verb import CommandError
from taskrunner.config.config import Config, decode_config, load_settings
from taskrunner.config.environment import home
from taskrunner.config.plugins import open_queue
from taskrunner.interfaces.queue import Submitter
from taskrunner.model import RunKey, TaskStatus

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Configuration; otherwise ./taskrunner.toml, or the one in your config folder.",
)
queue_option = click.option(
    "--queue", metavar="URL", help="Where tasks are kept, as sqlite:///PATH; otherwise a file under the home."
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs: JSON instead of text.")
run_option = click.option("--run", "run_id", type=click.IntRange(0), metavar="N", help="This run; otherwise the last.")


def check_file(path: Path | None) -> None:
    """Raises CommandError when `--config` names a file that does not exist."""
    if path and not path.is_file():
        raise CommandError(f"--config: there is no file {path}")


def load_config(path: Path | None, **flags: Any) -> Config:
    """All layers of the configuration. Raises CommandError, ConfigError."""
    check_file(path)
    return decode_config(load_settings(path, flags))


@asynccontextmanager
async def submitter(config: Config) -> AsyncIterator[Submitter]:
    """The queue of a verb. Raises CommandError, ConfigError."""
    opened = open_queue(config.queue_url(home()))
    try:
        if not isinstance(opened, Submitter):
            raise CommandError("this queue gets its tasks from elsewhere: it takes no submissions and no queries")
        yield opened
    finally:
        await opened.close()


def chosen_run(status: TaskStatus, run_id: int | None) -> RunKey | None:
    """The run that `--run` names, or the last one; None when there is none yet.

    Raises: CommandError when the task has no run of that number.
    """
    known = [run.run_id for run in status.runs]
    if run_id is not None and run_id not in known:
        has = f"it has {', '.join(map(str, known))}" if known else "it has none yet"
        raise CommandError(f"{status.task_id} has no run {run_id}: {has}")
    return RunKey(status.task_id, known[-1] if run_id is None else run_id) if known else None
