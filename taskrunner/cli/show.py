"""`taskrunner show` and `list`: tasks, their runs and how these ended."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import click

from taskrunner.cli.artifacts import artifact_store
from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.step_lines import step_lines
from taskrunner.cli.display.text import message_lines, resolution_line
from taskrunner.cli.shared_options import config_option, json_option, load_config, queue_option, submitter
from taskrunner.cli.verb import verb
from taskrunner.config.environment import home
from taskrunner.model import Artifact, Resolution, RunKey, RunStatus, TaskStatus
from taskrunner.state.journal import RunFolder, StateVisit, read_journal, state_visits


@click.command("show")
@click.argument("task_id", metavar="ID")
@config_option
@queue_option
@json_option
@verb
async def show_verb(task_id: str, config_path: Path | None, queue: str | None, *, as_json: bool) -> None:
    r"""Show the runs of a task: each state, how long it took, how the run ended and why.

    \b
    Example:
      taskrunner show hello
      taskrunner show hello --json | jq .resolution
    """
    async with submitter(load_config(config_path, queue=queue)) as tasks:
        status = await tasks.status(task_id)
    runs = [(run, _visits(task_id, run.run_id)) for run in status.runs]
    artifacts = await _artifacts(status)
    click.echo(json.dumps(_json(status, runs, artifacts), indent=2) if as_json else _text(status, runs, artifacts))


def _visits(task_id: str, run_id: int) -> tuple[StateVisit, ...]:
    return state_visits(read_journal(RunFolder(home(), RunKey(task_id, run_id)).journal))


async def _artifacts(status: TaskStatus) -> list[Artifact]:
    """The artifacts of the last run."""
    if not status.runs:
        return []
    return await artifact_store().list(RunKey(status.task_id, status.runs[-1].run_id))


# ---- for programs ---------------------------------------------------------------------------------------


def _json(
    status: TaskStatus, runs: list[tuple[RunStatus, tuple[StateVisit, ...]]], artifacts: list[Artifact]
) -> dict[str, Any]:
    return _task_json(status) | {
        "runs": [_run_json(run) | {"story": _visits_json(visits)} for run, visits in runs],
        "artifacts": [attrs.asdict(artifact) for artifact in artifacts],
    }


def _task_json(status: TaskStatus) -> dict[str, Any]:
    """What the queue knows: not the states of the runs, nor their artifacts."""
    return {
        "task_id": status.task_id,
        "state": status.state,
        **_resolution_json(status.resolution),
        "submitted": _time(status.submitted),
        "runs": [_run_json(run) for run in status.runs],
    }


def _visits_json(visits: tuple[StateVisit, ...]) -> list[dict[str, Any]]:
    return [{"at": _time(visit.at), "state": visit.state, "event": visit.event} for visit in visits]


def _run_json(run: RunStatus) -> dict[str, Any]:
    ending = run.resolution
    return {
        "run_id": run.run_id,
        "worker_id": run.worker_id,
        "started": _time(run.started),
        "resolved": _time(run.resolved),
        **_resolution_json(ending),
        "exit_code": ending.exit_code if ending else None,
        "result": dict(ending.result) if ending else {},
    }


def _resolution_json(resolution: Resolution | None) -> dict[str, Any]:
    if resolution is None:
        return {"resolution": None, "reason": None, "message": None}
    return {"resolution": resolution.kind, "reason": resolution.reason or None, "message": resolution.message or None}


def _time(time: datetime | None) -> str | None:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z") if time else None


# ---- for people -----------------------------------------------------------------------------------------


def _text(status: TaskStatus, runs: list[tuple[RunStatus, tuple[StateVisit, ...]]], artifacts: list[Artifact]) -> str:
    lines = [
        f"{_title(status)}: {resolution_line(status.resolution) or status.state}",
        f"submitted {_local(status.submitted)}",
        *source_lines(status.submission.document.get("source")),
    ]
    for run, visits in runs:
        lines += ["", *_run_text(run, visits)]
    if status.resolution and not (runs and runs[-1][0].resolution == status.resolution):
        lines += [
            "",
            "ended without another run" if runs else "ended without a run",
            *_resolution_text(status.resolution),
        ]
    if artifacts:
        lines += ["", "artifacts"]
        lines += [f"  {printable(artifact.name)}  {artifact.size:,} bytes" for artifact in artifacts]
    return "\n".join(lines)


def _run_text(run: RunStatus, visits: tuple[StateVisit, ...]) -> list[str]:
    lines = [f"run {run.run_id} on {run.worker_id}, {_local(run.started)}"]
    states = max((len(visit.state) for visit in visits), default=0)
    for visit in visits:
        took = f"{visit.took:8.2f} s" if visit.took is not None else " " * 10
        lines.append(f"  {visit.state:<{states}}  {took}  {visit.event}")
    return [*lines, *_resolution_text(run.resolution)]


def _resolution_text(resolution: Resolution | None) -> list[str]:
    """How and why a run ended, its steps and its result."""
    if resolution is None:
        return []
    steps = step_lines(resolution.result)
    rest = {key: value for key, value in resolution.result.items() if not (steps and key == "steps")}
    result = json.dumps(rest, indent=2).splitlines()[1:-1]
    lines = [*message_lines(resolution), *steps, *result]
    return [f"  {resolution_line(resolution)}", *(f"    {line}" for line in lines)]


def _title(status: TaskStatus) -> str:
    """The id of a task, and its name if it has one."""
    name = status.submission.document.get("name")
    return f"{status.task_id} ({printable(name)})" if name and isinstance(name, str) else status.task_id


_LOGIN = re.compile(r"//[^/]*@")
"""User and password in a URL."""


def source_lines(source: object) -> list[str]:
    """Repository and ref of a task, without credentials."""
    if not isinstance(source, Mapping):
        return []
    words = [str(source[key]) for key in ("repository", "ref") if source.get(key)]
    return [f"source {printable(_LOGIN.sub('//', ' '.join(words)))}"] if words else []


def _local(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


# ---- list -----------------------------------------------------------------------------------------------


@click.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many, the newest first.")
@config_option
@queue_option
@json_option
@verb
async def list_verb(limit: int, config_path: Path | None, queue: str | None, *, as_json: bool) -> None:
    r"""List the newest tasks.

    \b
    Example:
      taskrunner list --limit 5
    """
    async with submitter(load_config(config_path, queue=queue)) as tasks:
        statuses = [status async for status in tasks.list(limit=limit)]
    if as_json:
        click.echo(json.dumps([_task_json(status) for status in statuses], indent=2))
        return
    width = max((len(status.task_id) for status in statuses), default=0)
    for status in statuses:
        ending = resolution_line(status.resolution) or status.state
        name = _title(status).removeprefix(status.task_id)
        click.echo(f"{status.task_id:<{width}}  {_local(status.submitted)}  runs {len(status.runs)}  {ending}{name}")
