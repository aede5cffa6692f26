"""Rows of a ledger as values, and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime

from taskrunner.model import Resolution, RunStatus, Submission, TaskState, TaskStatus
from taskrunner.schema.canonical import canonical_json

STATES: dict[str, TaskState] = {
    "scheduled": "pending",
    "delayed": "pending",
    "ready": "pending",
    "running": "running",
    "resolved": "resolved",
}
"""The public state for each state of a row."""


def task_status(task: sqlite3.Row, runs: Iterable[sqlite3.Row]) -> TaskStatus:
    return TaskStatus(
        task_id=task["id"],
        state=STATES[task["state"]],
        submission=_submission(task),
        submitted=_moment(task["submitted"]),
        runs=tuple(map(_run_status, runs)),
        resolution=resolution_of(task),
    )


def resolution_of(row: sqlite3.Row) -> Resolution | None:
    """How a task or a run ended, if it did."""
    text = row["resolution"]
    return None if text is None else Resolution(**json.loads(text))


def resolution_text(resolution: Resolution) -> str:
    return canonical_json(
        {
            "kind": resolution.kind,
            "reason": resolution.reason,
            "message": resolution.message,
            "exit_code": resolution.exit_code,
            "result": resolution.result,
        }
    )


def seconds(moment: datetime | None) -> float | None:
    """A time of day as SQLite keeps it: seconds since 1970."""
    return None if moment is None else moment.timestamp()


def _run_status(run: sqlite3.Row) -> RunStatus:
    return RunStatus(
        run_id=run["run_id"],
        worker_id=run["worker_id"],
        started=_moment(run["started"]),
        resolved=_maybe(run["resolved"]),
        resolution=resolution_of(run),
        home=run["home"],
    )


def _submission(task: sqlite3.Row) -> Submission:
    return Submission(
        task_id=task["id"],
        document=json.loads(task["document"]),
        priority=task["priority"],
        retries=task["retries"],
        not_before=_maybe(task["not_before"]),
        deadline=_maybe(task["deadline"]),
    )


def _maybe(stamp: float | None) -> datetime | None:
    return None if stamp is None else _moment(stamp)


def _moment(stamp: float) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)
