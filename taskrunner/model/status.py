"""What is known of a task and its runs afterwards."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import attrs

from taskrunner.model.claim import Submission
from taskrunner.model.resolution import Resolution

TaskState = Literal["pending", "running", "resolved"]


@attrs.frozen
class RunStatus:
    """One run, as its queue knows it."""

    run_id: int
    worker_id: str
    started: datetime
    resolved: datetime | None = None
    resolution: Resolution | None = None
    home: str = ""
    """The home of its worker, when that is on the machine of the queue: its log and artifacts are there."""


@attrs.frozen
class StateVisit:
    """One state that a run was in."""

    at: datetime
    state: str
    event: str
    """What led to it."""
    message: str = ""
    took: float | None = None
    """Seconds until the next state; None for the last."""


@attrs.frozen
class RunStory:
    """What the home of its worker knows of one run."""

    visits: tuple[StateVisit, ...] = ()
    notes: tuple[str, ...] = ()
    """What did not go as it should, and changed nothing about its end."""
    left_behind: tuple[str, ...] = ()
    """What its clean-up could not remove."""
    still_left: tuple[str, ...] = ()
    """What has not been removed since."""
    pruned: datetime | None = None
    """When its log and its artifacts were removed, since they had been kept for long enough."""


@attrs.frozen
class TaskStatus:
    """A task and all its runs, as its queue knows them."""

    task_id: str
    state: TaskState
    submission: Submission
    submitted: datetime
    runs: tuple[RunStatus, ...] = ()
    resolution: Resolution | None = None
    """Of the task: that of its last run, or a cancellation before it ran."""


@attrs.frozen
class Artifact:
    """A file of a run in a store."""

    name: str
    size: int
    sha256: str | None
    """Hexadecimal. `put` returns it; a list of a store that keeps none lacks it."""
    content_type: str = "application/octet-stream"
    expires: datetime | None = None
    """A time of day (UTC) after which the store may remove it."""
    content_encoding: str = ""
    """What the file in the store is compressed with, as in HTTP: `gzip` or `zstd`; empty for nothing. `size` and
    `sha256` are those of the file in the store, `content_type` is that of what is inside."""
