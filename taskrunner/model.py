"""The values of this project: what a task, a claim, a resolution and a status are.

All are immutable, without clocks, files or networks. Times of day are aware datetimes in UTC, lengths of time are
seconds, sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import attrs
from attrs.validators import and_, deep_iterable, deep_mapping, ge, le, matches_re, min_len

from taskrunner import limits

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
Document = Mapping[str, Json]
"""A task as its author wrote it: plain JSON values, validated by the worker that runs it."""

# ---- how a run ends -------------------------------------------------------------------------------------

Ending = Literal["completed", "failed", "exception"]

RETRIED = frozenset({"worker-shutdown", "claim-expired", "intermittent-task"})
"""Exceptions after which a queue makes a new run, while retries are left; all others are final.
The list is Taskcluster's: a run is tried again only when its end says nothing against the task."""


@attrs.frozen
class Resolution:
    """How a run ended, and why."""

    kind: Ending
    reason: str = ""
    """A short stable word for scripts: `exit-code`, `max-run-time`, `malformed-payload`; empty when completed."""
    message: str = ""
    """The same for people: a few lines that say what happened and what to do."""
    exit_code: int | None = None
    """Of the command, if it ran to an end."""
    result: Document = attrs.field(factory=dict)
    """What the engine produced, as JSON values: for a build its commit, image id and digests."""

    def __str__(self) -> str:
        return f"{self.kind} ({self.reason})" if self.reason else self.kind

    def same_ending(self, other: Resolution) -> bool:
        """Whether both are the same for a queue: kind and reason; the messages may differ."""
        return (self.kind, self.reason) == (other.kind, other.reason)


COMPLETED = Resolution("completed")


def failed(reason: str, message: str) -> Resolution:
    return Resolution("failed", reason, message)


def exception(reason: str, message: str) -> Resolution:
    return Resolution("exception", reason, message)


# ---- what is to be run ----------------------------------------------------------------------------------

_INSIDE_PATTERN = rf"(?!/)(?!(?:.*/)?\.\.(?:/|$)){limits.PRINTABLE}{{1,4095}}"
"""A relative path that does not leave its folder. 4095 is PATH_MAX without its end."""

DEFAULT_RETRIES = 5
"""Taskcluster's default."""

MAX_RUN_TIME = 7 * 24 * 3600
"""Seconds. What runs longer than a week is a service; GitHub ends a job of its own runners after 5 days."""


@attrs.frozen
class Secret:
    """A value that must never be shown: a literal, or a name in the worker's configuration."""

    name: str = ""
    literal: str = attrs.field(default="", repr=False)


@attrs.frozen
class Source:
    """A commit of a git repository, whose files the run gets."""

    repository: str = attrs.field(
        validator=min_len(1), metadata={"hint": "write a URL that git can fetch from: https://git.example/team/web.git"}
    )
    """Any URL that git can fetch from, without credentials in it."""
    ref: str = ""
    """A branch, a tag, or the full id of a commit; empty for the default branch."""
    token: Secret | None = None
    """The password for the repository."""
    submodules: bool | tuple[str, ...] = True
    """Whether the files of submodules are fetched too, or the paths of those whose files are."""


@attrs.frozen
class ArtifactSpec:
    """A file or a folder of a run that is kept."""

    name: str = attrs.field(validator=matches_re(limits.ARTIFACT_PATTERN), metadata={"hint": limits.ARTIFACT_HINT})
    """Its name in the store: `public/report.xml`. For a folder or a pattern, the prefix of what is found."""
    path: str = attrs.field(
        validator=matches_re(_INSIDE_PATTERN), metadata={"hint": "write a path inside the run's folder, without `..`"}
    )
    """Where it is, relative to the run's folder: a file, a folder, or a pattern (`build/**/*.whl`)."""
    optional: bool = False
    """Whether the run may succeed without it."""
    content_type: str = attrs.field(
        default="",
        validator=matches_re(r"(?:[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:;[ -~]*)?)?"),
        metadata={"hint": "write a media type such as text/plain, or leave it out"},
    )
    """Media type; guessed from the name when empty."""


@attrs.frozen
class CacheSpec:
    """A folder that outlives the run."""

    name: str = attrs.field(validator=matches_re(limits.CACHE_PATTERN), metadata={"hint": limits.CACHE_HINT})
    """Runs that name the same cache share it, one after the other."""
    path: str = attrs.field(validator=matches_re(rf"/?{_INSIDE_PATTERN}"), metadata={"hint": "write it without `..`"})
    """Its path in the run, relative to the run's folder, or absolute in a container."""
    read_only: bool = False
    """Whether the run may only read it; several runs can then use it at the same time."""


@attrs.frozen
class OnExitStatus:
    """What certain exit statuses mean besides success and failure."""

    retry: tuple[int, ...] = attrs.field(default=(), validator=deep_iterable(and_(ge(1), le(255))))
    """Try again: the run is an exception, `intermittent-task`. 0 is a success and never tried again."""
    purge_caches: tuple[int, ...] = attrs.field(default=(), validator=deep_iterable(and_(ge(0), le(255))))
    """Discard the caches that this run used."""


@attrs.frozen
class Task:
    """The work to run. Immutable; the platform's own fields stand in a payload of its own class.

    The validators serve the decoder of documents and the JSON Schema of a task alike."""

    id: str = attrs.field(validator=matches_re(limits.ID_PATTERN), metadata={"hint": limits.ID_HINT})
    """Unique in its queue. Generated at the submission when it is absent."""
    platform: str
    """What runs it: the name of a platform that the worker has."""
    name: str = attrs.field(
        default="", validator=matches_re(rf"{limits.PRINTABLE}{{0,200}}"), metadata={"hint": "use one line"}
    )
    """A name for people; need not be unique."""
    env: Mapping[str, str] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(limits.ENV_PATTERN), matches_re(r"[^\x00]*")),
        metadata={"hint": f"{limits.ENV_HINT}; a value has no NUL"},
    )
    """Environment variables, added to those that the platform sets for every run."""
    max_run_time: int = attrs.field(default=3600, validator=[ge(1), le(MAX_RUN_TIME)])
    """Seconds from the begin of loading to the end of running; then the run is failed, `max-run-time`."""
    retries: int = attrs.field(default=DEFAULT_RETRIES, validator=[ge(0), le(limits.MAX_RETRIES)])
    """How often a run that was lost through no fault of its own is tried again."""
    priority: int = attrs.field(default=0, validator=[ge(limits.MIN_PRIORITY), le(limits.MAX_PRIORITY)])
    """Higher goes first."""
    deadline: datetime | None = None
    """A time of day (UTC) after which the result is not needed."""
    not_before: datetime | None = None
    """A time of day (UTC) before which the queue does not grant it."""
    source: Source | None = None
    """Where the files of the run come from; without it, a run begins in an empty folder."""
    artifacts: tuple[ArtifactSpec, ...] = ()
    """Files and folders of the run that are kept."""
    caches: tuple[CacheSpec, ...] = ()
    """Folders that outlive the run."""
    secrets: Mapping[str, Secret] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(limits.ENV_PATTERN)),
        metadata={"hint": limits.ENV_HINT},
    )
    """Environment variable to secret; masked in the log."""
    on_exit_status: OnExitStatus = OnExitStatus()
    metadata: Mapping[str, Json] = attrs.field(factory=dict)
    """Values of the author's own; the worker never reads them."""


# ---- who holds a run ------------------------------------------------------------------------------------


@attrs.frozen
class RunKey:
    """Names one run everywhere: in queues, stores, journals and labels."""

    task_id: str
    run_id: int
    """0 for the first run of a task; rises with each grant."""

    def __str__(self) -> str:
        return f"{self.task_id}/{self.run_id}"


@attrs.frozen
class Submission:
    """A task on its way into a queue: the document, and the fields that a queue itself reads."""

    task_id: str
    document: Document
    priority: int = 0
    retries: int = DEFAULT_RETRIES
    not_before: datetime | None = None
    deadline: datetime | None = None


@attrs.frozen
class Claim:
    """The lease on a run: ours until `valid_until`, longer after each reclaim."""

    task_id: str
    run_id: int
    document: Document
    worker_id: str
    token: str = attrs.field(repr=False)
    """Proof of ownership; opaque to all but the queue that made it."""
    taken_until: datetime | None = None
    """When the lease ends, by the queue's clock (UTC): for people and wire formats. None: bound to a connection."""
    valid_until: float | None = None
    """The same on the running loop's clock (`loop.time()`), counted from *before* the request was sent, to be on the
    safe side: a worker that could not reclaim by then has lost the run."""

    @property
    def run(self) -> RunKey:
        return RunKey(self.task_id, self.run_id)


@attrs.frozen
class Notice:
    """Advice from a queue: may be late, repeated or lost."""

    kind: Literal["cancel", "drain"]
    task_id: str = ""
    message: str = ""


# ---- the status of a task ---------------------------------------------------------------------

TaskState = Literal["pending", "running", "resolved"]


@attrs.frozen
class RunStatus:
    """One run, as its queue knows it."""

    run_id: int
    worker_id: str
    started: datetime
    resolved: datetime | None = None
    resolution: Resolution | None = None


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
    sha256: str
    content_type: str = "application/octet-stream"


@attrs.frozen
class Health:
    """Whether a machine, or a part of it, is fit to run tasks."""

    fit: bool
    why: str = ""
    """What is wrong and what to do, when it is not."""


@attrs.frozen
class Progress:
    """How far one step of a run is: `clone` 40 of 100 bytes."""

    step: str
    done: float
    total: float | None = None
    unit: str = "B"
    note: str = ""
