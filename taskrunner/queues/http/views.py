"""What the API answers, as classes: its JSON, its OpenAPI document and its client are made of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self

import attrs

from taskrunner.errors import Complaint
from taskrunner.model import (
    DEFAULT_RETRIES,
    Artifact,
    Json,
    Resolution,
    RunStatus,
    RunStory,
    Submission,
    TaskState,
    TaskStatus,
)
from taskrunner.url_secrets import without_login


@attrs.frozen
class RunDocument:
    """One run of a task."""

    run_id: int
    worker_id: str
    started: datetime
    resolved: datetime | None = None
    resolution: Resolution | None = None
    """How it ended."""

    @classmethod
    def of(cls, run: RunStatus) -> Self:
        return cls(run.run_id, run.worker_id, run.started, run.resolved, run.resolution)


@attrs.frozen
class TaskView:
    """A task and its runs. The document itself is never shown: it may hold secrets."""

    id: str
    state: TaskState
    submitted: datetime
    name: str = ""
    platform: str = ""
    priority: int = 0
    retries: int = DEFAULT_RETRIES
    metadata: Mapping[str, Json] = attrs.field(factory=dict)
    source: Mapping[str, str] = attrs.field(factory=dict)
    """`repository` and `ref`, or `archive`, without credentials."""
    runs: tuple[RunDocument, ...] = ()
    resolution: Resolution | None = None
    """How the task ended: as its last run, or cancelled before it ran."""

    @classmethod
    def of(cls, status: TaskStatus) -> Self:
        document, metadata = status.submission.document, status.submission.document.get("metadata")
        return cls(
            status.task_id,
            status.state,
            status.submitted,
            _text(document.get("name")),
            _text(document.get("platform")),
            status.submission.priority,
            status.submission.retries,
            metadata if isinstance(metadata, Mapping) else {},
            _shown_source(document.get("source")),
            tuple(map(RunDocument.of, status.runs)),
            status.resolution,
        )

    def status(self, home: str) -> TaskStatus:
        """As the verbs of the command line know a task. `home` is the URL of the server."""
        document: dict[str, Json] = {
            "id": self.id,
            "platform": self.platform,
            "metadata": dict(self.metadata),
            "source": dict(self.source),
        }
        document |= {"name": self.name} if self.name else {}
        runs = tuple(
            RunStatus(run.run_id, run.worker_id, run.started, run.resolved, run.resolution, home) for run in self.runs
        )
        submission = Submission(self.id, document, self.priority, self.retries)
        return TaskStatus(self.id, self.state, submission, self.submitted, runs, self.resolution)


def _text(value: object) -> str:
    """A field of a document that nobody may have checked."""
    return value if isinstance(value, str) else ""


def _shown_source(source: object) -> dict[str, str]:
    if not isinstance(source, Mapping):
        return {}
    return {key: without_login(str(source[key])) for key in ("repository", "ref", "archive") if source.get(key)}


@attrs.frozen
class TaskList:
    """The newest tasks first."""

    tasks: tuple[TaskView, ...]


@attrs.frozen
class IdList:
    """The ids that begin so."""

    ids: tuple[str, ...]


@attrs.frozen
class ArtifactList:
    """The artifacts of a run, by their names."""

    run_id: int
    artifacts: tuple[Artifact, ...]


@attrs.frozen
class StoryView:
    """What the home of its worker knows of a run; nothing of one that it has forgotten, or when there is no run."""

    run_id: int
    story: RunStory


@attrs.frozen
class Done:
    """What a request did: `done` is false when there was nothing to do."""

    done: bool
    task: TaskView


@attrs.frozen
class Message:
    """Why, for people."""

    message: str = attrs.field(default="", validator=attrs.validators.max_len(10_000))


@attrs.frozen
class Counts:
    """How many tasks wait to be claimed."""

    pending: int


@attrs.frozen
class MoveEvent:
    """A run is in another state."""

    run_id: int
    at: datetime
    state: str
    event: str
    message: str = ""


@attrs.frozen
class LogEvent:
    """A piece of the log of a run. What is no UTF-8 is replaced; the log itself has it as it is."""

    run_id: int
    offset: int
    """In bytes."""
    text: str
    stream: Literal["", "stdout", "stderr", "both", "worker"] = ""
    at: datetime | None = None


@attrs.frozen
class ProgressEvent:
    """How far a step is, from a worker that serves this API itself."""

    run_id: int
    step: str
    done: float
    total: float | None = None
    unit: str = "B"
    note: str = ""


@attrs.frozen
class Problem:
    """What is wrong with a request (RFC 9457)."""

    title: str
    status: int
    detail: str = ""
    complaints: tuple[Complaint, ...] = ()
    """Everything that is wrong with a document: where, what, and what to write instead."""


def plain(view: Any) -> Any:
    """An instance as JSON values."""
    return attrs.asdict(view, value_serializer=_serialized)


def _serialized(_: object, __: object, value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return dict(value) if isinstance(value, Mapping) else value
