"""`taskrunner status`, `pause`, `resume` and `drain`: the verbs that reach a running worker, through its door."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from taskrunner.cli.display.status_lines import status_lines
from taskrunner.cli.exit_status import NOTHING_DONE
from taskrunner.cli.shared_options import Duration, json_option
from taskrunner.cli.verb import CommandError, verb
from taskrunner.config.environment import home_path
from taskrunner.errors import Unavailable
from taskrunner.state.worker_lock import dead_workers, live_workers
from taskrunner.worker.door.client import ask
from taskrunner.worker.door.verbs import MAX_PAUSE

worker_option = click.option(
    "--worker",
    "prefix",
    default="",
    metavar="ID",
    help="The worker whose id begins with this; needed where several run.",
)


@click.command("status")
@click.option("--worker", "prefix", default="", metavar="ID", help="Only workers whose id begins with this.")
@json_option
@verb
async def status_verb(prefix: str, *, as_json: bool) -> int:
    r"""Show the workers that run on this home: their state, why they are paused, and what they run.

    \b
    Exit status:
      0    every worker has answered
      1    no worker runs, or one does not answer

    \b
    Example:
      taskrunner status
      taskrunner status --json | jq '.[].runs[].task_id'
    """
    place = home_path()
    reports, silent = await _reports(place, [each for each in live_workers(place) if each.startswith(prefix)])
    if as_json:
        click.echo(json.dumps(reports, indent=2))
    elif reports:
        click.echo("\n\n".join("\n".join(status_lines(report)) for report in reports))
    for line in silent:
        click.echo(f"taskrunner: {line}", err=True)
    for worker_id in dead_workers(place):
        click.echo(f"taskrunner: worker {worker_id} has died; the next worker cleans up after it", err=True)
    if not (reports or silent):
        click.echo(f"taskrunner: {_nobody(place, prefix)}", err=True)
    return 0 if reports and not silent else NOTHING_DONE


@click.command("pause")
@click.option("--for", "seconds", type=Duration(), help="For this time only: 30s, 10m, 2h; otherwise until `resume`.")
@worker_option
@verb
async def pause_verb(seconds: float | None, prefix: str) -> int:
    r"""Let a worker take no more tasks, for a while or until `resume`. What it runs goes on.

    A worker that is started again takes tasks: the pause ends with the process.

    \b
    Example:
      taskrunner pause --for 30m
      taskrunner pause --worker ci-7
    """
    if seconds is not None and seconds > MAX_PAUSE:
        raise CommandError(f"--for: at most {MAX_PAUSE / 86400:g} days; without it, the pause has no end of its own")
    return await _order(prefix, "pause", seconds=seconds)


@click.command("resume")
@worker_option
@verb
async def resume_verb(prefix: str) -> int:
    r"""End the pause of a worker. One whose machine is unfit stays paused until it is fit.

    \b
    Example:
      taskrunner resume
    """
    return await _order(prefix, "resume")


@click.command("drain")
@click.option("--now", is_flag=True, help="Hand back what runs at once, as after a second signal.")
@worker_option
@verb
async def drain_verb(prefix: str, *, now: bool) -> int:
    r"""Let a worker finish what it runs, and stop: the same as the first SIGTERM. Returns at once.

    \b
    Example:
      taskrunner drain
      taskrunner drain --now --worker ci-7
    """
    return await _order(prefix, "drain", now=now)


async def _order(prefix: str, order: str, **fields: Any) -> int:
    """Sends an order to the one worker that the prefix chooses, and prints what it does then."""
    place = home_path()
    found = [each for each in live_workers(place) if each.startswith(prefix)]
    if not found:
        click.echo(f"taskrunner: {_nobody(place, prefix)}", err=True)
        return NOTHING_DONE
    if len(found) > 1:
        raise CommandError("--worker: several workers run here, choose one:\n" + "\n".join(found))
    click.echo(status_lines(await ask(place, found[0], order, **fields))[0])
    return 0


async def _reports(place: Path, worker_ids: list[str]) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The reports of these workers, and a line for each that gave none though it is still alive."""
    reports, silent = [], []
    for worker_id in worker_ids:
        try:
            reports.append(await ask(place, worker_id, "status"))
        except Unavailable as unavailable:
            if worker_id in live_workers(place):  # else it has stopped this moment
                silent.append(str(unavailable))
    return reports, silent


def _nobody(place: Path, prefix: str) -> str:
    if not place.is_dir():
        return f"no worker runs: there is no folder {place}, is TASKRUNNER_HOME right?"
    return f"no worker runs on {place}" + (f" whose id begins with {prefix!r}" if prefix else "")
