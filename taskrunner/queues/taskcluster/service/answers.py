"""What the queue service answers, field by field: nothing of it is used unread."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

import attrs

from taskrunner.errors import Unavailable
from taskrunner.limits import EARLIEST, ID_PATTERN, LATEST
from taskrunner.model import Document
from taskrunner.queues.taskcluster.service.credentials import Credentials

T = TypeVar("T")

MAX_RUN_ID = 1000
"""Runs of one task: the first, its retries, and those that people ask for."""

_WORDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}


def unreadable(path: str, problem: str) -> Unavailable:
    """The error of an answer that cannot be used."""
    return Unavailable(f"the answer of the queue cannot be read: {path} {problem}")


def member(table: Any, path: str, kind: type[T]) -> T:
    """A value of an answer, of exactly this type. Raises Unavailable, which names the path."""
    value = table
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if type(value) is not kind:
        raise unreadable(path, "is missing" if value is None else f"is not {_WORDS[kind]}")
    return value


@attrs.frozen
class TakenLease:
    """Until when a run is ours, and the credentials for it."""

    taken_until: datetime
    credentials: Credentials


@attrs.frozen
class ClaimedRun:
    """One claim in an answer of `claimWork`."""

    task_id: str
    run_id: int
    lease: TakenLease
    task: Document
    """The definition of the task, as the queue has it."""


def lease_of(answer: Any) -> TakenLease:
    """Raises Unavailable."""
    access_token = member(answer, "credentials.accessToken", str)
    known = member(answer, "credentials", dict)
    certificate = known.get("certificate") or ""
    if not isinstance(certificate, str):
        raise unreadable("credentials.certificate", "is not a text")
    return TakenLease(
        _time(answer, "takenUntil"),
        Credentials(member(answer, "credentials.clientId", str), access_token, certificate),
    )


def grants_of(answer: Any) -> list[ClaimedRun]:
    """The claims of an answer that can be used. One that cannot be used expires at the queue, and is tried again; it
    is an error only when there is no other. Raises Unavailable."""
    found, problems = [], []
    for item in member(answer, "tasks", list):
        try:
            found.append(_grant(item))
        except Unavailable as problem:
            problems.append(problem)
    if problems and not found:
        raise problems[0]
    return found


def states_of(answer: Any) -> Iterator[tuple[str, str]]:
    """State and reason of each run in a status. Raises Unavailable."""
    for run in member(answer, "status.runs", list):
        reason = run.get("reasonResolved") if isinstance(run, Mapping) else None
        yield member(run, "state", str), reason if isinstance(reason, str) else ""


def _grant(item: Any) -> ClaimedRun:
    task_id, run_id = member(item, "status.taskId", str), member(item, "runId", int)
    if not re.fullmatch(ID_PATTERN, task_id):
        raise unreadable("status.taskId", "is no id of a task")
    if not 0 <= run_id <= MAX_RUN_ID:
        raise unreadable("runId", f"is not between 0 and {MAX_RUN_ID}")
    return ClaimedRun(task_id, run_id, lease_of(item), member(item, "task", dict))


def _time(answer: Any, path: str) -> datetime:
    time = time_of(member(answer, path, str))
    if time is None:
        raise unreadable(path, "is no time of day")
    return time


def time_of(text: object) -> datetime | None:
    """A time of day of a message; None when it is none that can be used."""
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return time if time and time.tzinfo and EARLIEST <= time <= LATEST else None
