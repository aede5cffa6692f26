"""`taskrunner show`: a task, its runs and how these ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.step_lines import step_lines
from taskrunner.cli.display.text import message_lines, resolution_line
from taskrunner.cli.shared_options import (
    config_option,
    found_status,
    json_option,
    load_config,
    opened_store,
    queue_option,
    submitter,
)
from taskrunner.cli.tasks.artifacts import artifact_json
from taskrunner.cli.verb import verb
from taskrunner.config.settings import Settings
from taskrunner.errors import NotSupported
from taskrunner.history.run_log import worker_home
from taskrunner.history.run_story import read_story
from taskrunner.interfaces.queue import Submitter
from taskrunner.model import Artifact, Resolution, RunKey, RunStatus, RunStory, TaskStatus
from taskrunner.url_secrets import without_login


@click.command("show")
@click.argument("task_id", metavar="ID")
@config_option
@queue_option
@json_option
@verb
async def show_verb(task_id: str, config_path: Path | None, queue: str | None, *, as_json: bool) -> None:
    r"""Show the runs of a task: each state, how long it took, how the run ended and why.

    ID may be the beginning of an id, where only one task has it.

    \b
    Example:
      taskrunner show hello
      taskrunner show hello --json | jq .resolution
    """
    settings = load_config(config_path, queue=queue)
    async with submitter(settings) as tasks:
        status = await found_status(tasks, task_id)
        artifacts = await _artifacts(tasks, settings, status)
        runs = [(run, await _story(tasks, status, RunKey(status.task_id, run.run_id))) for run in status.runs]
    click.echo(json.dumps(_json(status, runs, artifacts), indent=2) if as_json else _text(status, runs, artifacts))


async def _story(tasks: Submitter, status: TaskStatus, run: RunKey) -> RunStory:
    try:
        return await tasks.run_story(run)
    except NotSupported:
        return read_story(worker_home(status, run), run)


async def _artifacts(tasks: Submitter, settings: Settings, status: TaskStatus) -> list[Artifact]:
    """The artifacts of the last run."""
    if not status.runs:
        return []
    last = RunKey(status.task_id, status.runs[-1].run_id)
    async with opened_store(tasks, settings, worker_home(status, last)) as store:
        return await store.list(last)


# ---- for programs ---------------------------------------------------------------------------------------


def _json(status: TaskStatus, runs: list[tuple[RunStatus, RunStory]], artifacts: list[Artifact]) -> dict[str, Any]:
    return task_json(status) | {
        "runs": [_run_json(run) | _story_json(story) for run, story in runs],
        "artifacts": [artifact_json(artifact) for artifact in artifacts],
    }


def task_json(status: TaskStatus) -> dict[str, Any]:
    """What the queue knows: not the states of the runs, nor their artifacts."""
    document = status.submission.document
    return {
        "task_id": status.task_id,
        "name": document.get("name"),
        "platform": document.get("platform"),
        "priority": status.submission.priority,
        "interactive": document.get("interactive") is True,
        "metadata": document.get("metadata") or {},
        "state": status.state,
        **_resolution_json(status.resolution),
        "submitted": _time(status.submitted),
        "runs": [_run_json(run) for run in status.runs],
    }


def _story_json(story: RunStory) -> dict[str, Any]:
    return {
        "story": [
            {"at": _time(visit.at), "state": visit.state, "event": visit.event, "message": visit.message or None}
            for visit in story.visits
        ],
        "notes": list(story.notes),
        "left_behind": list(story.left_behind),
        "still_left": list(story.still_left),
        "pruned": _time(story.pruned),
    }


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


def _text(status: TaskStatus, runs: list[tuple[RunStatus, RunStory]], artifacts: list[Artifact]) -> str:
    lines = [
        f"{_title(status)}: {resolution_line(status.resolution) or status.state}",
        f"submitted {local_time(status.submitted)}",
        *author_lines(status),
        *source_lines(status.submission.document.get("source")),
    ]
    for run, story in runs:
        lines += ["", *_run_text(run, story)]
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


def _run_text(run: RunStatus, story: RunStory) -> list[str]:
    lines = [f"run {run.run_id} on {run.worker_id}, {local_time(run.started)}"]
    states = max((len(visit.state) for visit in story.visits), default=0)
    for visit in story.visits:
        took = f"{visit.took:8.2f} s" if visit.took is not None else " " * 10
        why = f": {printable(visit.message)}" if visit.message else ""
        lines.append(f"  {visit.state:<{states}}  {took}  {visit.event}{why}")
    lines += [f"  note: {printable(text)}" for text in story.notes]
    return [*lines, *_left_text(story), *_pruned_text(story), *_resolution_text(run.resolution)]


def _left_text(story: RunStory) -> list[str]:
    lines = [f"  left behind: {printable(line)}" for line in story.left_behind]
    if story.still_left:
        return [*lines, *(f"  still there: {printable(line)}" for line in story.still_left)]
    return [*lines, "  removed since"] if lines else []


def _pruned_text(story: RunStory) -> list[str]:
    return [f"  its log and artifacts were removed on {local_time(story.pruned)}"] if story.pruned else []


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


LONGEST_METADATA = 500
"""Characters that `show` prints for people; --json has all."""


def author_lines(status: TaskStatus) -> list[str]:
    """Platform, priority and metadata, as the author wrote them: nobody may have checked them yet."""
    document, priority = status.submission.document, status.submission.priority
    words = [f"platform {document['platform']}"] if isinstance(document.get("platform"), str) else []
    words += [f"priority {priority}"] if priority else []
    words += ["interactive"] if document.get("interactive") is True else []
    lines = [", ".join(words)] if words else []
    if isinstance(metadata := document.get("metadata"), Mapping) and metadata:
        text = json.dumps(metadata, ensure_ascii=False)
        lines.append("metadata " + (text if len(text) <= LONGEST_METADATA else f"{text[:LONGEST_METADATA]} …"))
    return [printable(line) for line in lines]


def source_lines(source: object) -> list[str]:
    """Repository and ref of a task, or its archive, without credentials."""
    if not isinstance(source, Mapping):
        return []
    words = [without_login(str(source[key])) for key in ("repository", "ref", "archive") if source.get(key)]
    return [f"source {printable(' '.join(words))}"] if words else []


def local_time(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"
