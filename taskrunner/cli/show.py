"""`taskrunner show` and `list`: what became of tasks."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import click

from taskrunner.cli.display.view import details
from taskrunner.cli.options import (
    config_option,
    json_option,
    load_config,
    printable,
    queue_option,
    submitter,
    told,
    verb,
)
from taskrunner.config.environment import home
from taskrunner.model import Artifact, Resolution, RunKey, RunStatus, TaskStatus
from taskrunner.state.journal import RunFolder, StateVisit, read_journal, story
from taskrunner.stores.folder import FolderStore


@click.command("show")
@click.argument("task_id", metavar="ID")
@config_option
@queue_option
@json_option
@verb
async def show_verb(task_id: str, config_path: Path | None, queue: str | None, *, as_json: bool) -> None:
    r"""Tell the story of a task: each state of each run, how long it took, how it ended and why.

    \b
    Example:
      taskrunner show hello
      taskrunner show hello --json | jq .resolution
    """
    async with submitter(load_config(config_path, queue=queue)) as tasks:
        status = await tasks.status(task_id)
    runs = [(run, _story(task_id, run.run_id)) for run in status.runs]
    artifacts = await _artifacts(status)
    click.echo(json.dumps(_json(status, runs, artifacts), indent=2) if as_json else _text(status, runs, artifacts))


def _story(task_id: str, run_id: int) -> tuple[StateVisit, ...]:
    return story(read_journal(RunFolder(home(), RunKey(task_id, run_id)).journal))


async def _artifacts(status: TaskStatus) -> list[Artifact]:
    """Of the last run."""
    if not status.runs:
        return []
    return await FolderStore(home() / "artifacts").list(RunKey(status.task_id, status.runs[-1].run_id))


# ---- for programs ---------------------------------------------------------------------------------------


def _json(
    status: TaskStatus, runs: list[tuple[RunStatus, tuple[StateVisit, ...]]], artifacts: list[Artifact]
) -> dict[str, Any]:
    return _task_json(status) | {
        "runs": [_run_json(run) | {"story": _story_json(steps)} for run, steps in runs],
        "artifacts": [attrs.asdict(artifact) for artifact in artifacts],
    }


def _task_json(status: TaskStatus) -> dict[str, Any]:
    """What the queue knows: neither the stories of its runs nor their artifacts."""
    return {
        "task_id": status.task_id,
        "state": status.state,
        **_ending(status.resolution),
        "submitted": _time(status.submitted),
        "runs": [_run_json(run) for run in status.runs],
    }


def _story_json(steps: tuple[StateVisit, ...]) -> list[dict[str, Any]]:
    return [{"at": _time(step.at), "state": step.state, "event": step.event} for step in steps]


def _run_json(run: RunStatus) -> dict[str, Any]:
    ending = run.resolution
    return {
        "run_id": run.run_id,
        "worker_id": run.worker_id,
        "started": _time(run.started),
        "resolved": _time(run.resolved),
        **_ending(ending),
        "exit_code": ending.exit_code if ending else None,
        "result": dict(ending.result) if ending else {},
    }


def _ending(resolution: Resolution | None) -> dict[str, Any]:
    if resolution is None:
        return {"resolution": None, "reason": None, "message": None}
    return {"resolution": resolution.kind, "reason": resolution.reason or None, "message": resolution.message or None}


def _time(time: datetime | None) -> str | None:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z") if time else None


# ---- for people -----------------------------------------------------------------------------------------


def _text(status: TaskStatus, runs: list[tuple[RunStatus, tuple[StateVisit, ...]]], artifacts: list[Artifact]) -> str:
    lines = [f"{_called(status)}: {told(status.resolution) or status.state}", f"submitted {_local(status.submitted)}"]
    for run, steps in runs:
        lines += ["", *_run_text(run, steps)]
    if status.resolution and not (runs and runs[-1][0].resolution == status.resolution):
        lines += ["", "ended without another run" if runs else "ended without a run", *_ending_text(status.resolution)]
    if artifacts:
        lines += ["", "artifacts"]
        lines += [f"  {printable(artifact.name)}  {artifact.size:,} bytes" for artifact in artifacts]
    return "\n".join(lines)


def _run_text(run: RunStatus, steps: tuple[StateVisit, ...]) -> list[str]:
    lines = [f"run {run.run_id} on {run.worker_id}, {_local(run.started)}"]
    states = max((len(step.state) for step in steps), default=0)
    for step in steps:
        took = f"{step.took:8.2f} s" if step.took is not None else " " * 10
        lines.append(f"  {step.state:<{states}}  {took}  {step.event}")
    return [*lines, *_ending_text(run.resolution)]


def _ending_text(resolution: Resolution | None) -> list[str]:
    """How and why, and what came of it."""
    if resolution is None:
        return []
    result = json.dumps(dict(resolution.result), indent=2).splitlines()[1:-1]
    return [f"  {told(resolution)}", *(f"    {line}" for line in (*details(resolution), *result))]


def _called(status: TaskStatus) -> str:
    """A task by its id, and the name that its author gave it."""
    name = status.submission.document.get("name")
    return f"{status.task_id} ({printable(name)})" if name and isinstance(name, str) else status.task_id


def _local(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


# ---- many -----------------------------------------------------------------------------------------------


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
        ending = told(status.resolution) or status.state
        name = _called(status).removeprefix(status.task_id)
        click.echo(f"{status.task_id:<{width}}  {_local(status.submitted)}  runs {len(status.runs)}  {ending}{name}")
