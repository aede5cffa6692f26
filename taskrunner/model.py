"""The words of this project as values: what a task, a claim, a resolution and a status are.

All are immutable and know nothing of clocks, files or networks. Times of day are aware datetimes in UTC,
lengths of time are seconds, sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import attrs
from attrs.validators import and_, deep_iterable, deep_mapping, ge, le, matches_re

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
Document = Mapping[str, Json]
"""A task as its author wrote it: plain JSON values, judged by the worker that runs it."""

# ---- how a run ends -------------------------------------------------------------------------------------

Ending = Literal["completed", "failed", "exception"]

RETRIED = frozenset({"worker-shutdown", "claim-expired", "intermittent-task"})
"""Exceptions after which a queue makes a new run, while retries are left; all others are final.
The list is Taskcluster's: only what says nothing against the task itself is tried again."""


@attrs.frozen
class Resolution:
    """How a run ended, and why."""

    kind: Ending
    reason: str = ""
    """A short stable word for scripts: `exit-code`, `max-run-time`, `malformed-payload`; empty when completed."""
    message: str = ""
    """The same for people: one or a few lines that say what happened and what to do."""
    exit_code: int | None = None
    """Of the command, if it ran to an end."""
    result: Document = attrs.field(factory=dict)
    """What the engine made, as JSON values: for a build its commit, image id and digests."""

    def __str__(self) -> str:
        return f"{self.kind} ({self.reason})" if self.reason else self.kind

    def same_ending(self, other: Resolution) -> bool:
        """Whether both say the same to a queue: kind and reason; the words may differ."""
        return (self.kind, self.reason) == (other.kind, other.reason)


COMPLETED = Resolution("completed")


def failed(reason: str, message: str) -> Resolution:
    return Resolution("failed", reason, message)


def exception(reason: str, message: str) -> Resolution:
    return Resolution("exception", reason, message)


# ---- what is to be run ----------------------------------------------------------------------------------

_TEXT = r"[^\x00-\x1f\x7f]"
"""A character that may be printed: names and paths end up in terminals, headers and logs."""

ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""A task's id is the name of a folder, a part of URLs and of labels."""

ENV_PATTERN = r"[A-Za-z_][A-Za-z0-9_]*"
"""Names of environment variables by POSIX (XBD 8.1), in both cases."""

_NAME_PATTERN = rf"(?!(?:.*/)?\.{{0,2}}(?:/|$)){_TEXT}{{1,1024}}"
"""A key in a store: relative, with no empty part, `.` or `..`. 1024 bytes is the longest key of S3."""

_INSIDE_PATTERN = rf"(?!/)(?!(?:.*/)?\.\.(?:/|$)){_TEXT}{{1,4095}}"
"""A relative path that does not leave its folder. 4095 is PATH_MAX without its end."""

MAX_RUN_TIME = 7 * 24 * 3600
"""Seconds. What runs longer than a week is a service; GitHub ends a job of its own runners after 5 days."""


@attrs.frozen
class Secret:
    """A value that must never be seen: given literally, or by the name it has in the worker's configuration."""

    name: str = ""
    literal: str = attrs.field(default="", repr=False)


@attrs.frozen
class ArtifactSpec:
    """One thing to keep of what a run made."""

    name: str = attrs.field(
        validator=matches_re(_NAME_PATTERN), metadata={"hint": "write a relative name without `..`: public/report.xml"}
    )
    """What it is called in the store: `public/report.xml`. For a folder or a pattern, the prefix of what is found."""
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

    name: str = attrs.field(
        validator=matches_re(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"),
        metadata={"hint": "use up to 128 letters, digits, `.`, `_` and `-`, and begin with none of `.` and `-`"},
    )
    """Runs that name the same cache share it, one after the other."""
    path: str = attrs.field(validator=matches_re(rf"/?{_INSIDE_PATTERN}"), metadata={"hint": "write it without `..`"})
    """Where the run sees it, relative to its folder, or absolute in a container."""
    read_only: bool = False
    """Whether the run may only read it; several runs can then use it at the same time."""


@attrs.frozen
class OnExitStatus:
    """What certain exit statuses mean besides success and failure."""

    retry: tuple[int, ...] = attrs.field(default=(), validator=deep_iterable(and_(ge(1), le(255))))
    """Try again: the run is an exception, `intermittent-task`. 0 is a success, which nothing tries again."""
    purge_caches: tuple[int, ...] = attrs.field(default=(), validator=deep_iterable(and_(ge(0), le(255))))
    """Throw away the caches that this run used."""


@attrs.frozen
class Task:
    """What somebody wants run. Immutable; what the platform is told stands in a payload of the platform's own class.

    The validators are what a decoder holds a document against, and what the JSON Schema of a task says."""

    id: str = attrs.field(
        validator=matches_re(ID_PATTERN),
        metadata={"hint": "use up to 100 letters, digits, `.`, `_` and `-`, and begin with a letter or a digit"},
    )
    """Unique in its queue. Made up by whoever submits the task when it is absent."""
    platform: str
    """What runs it: the name of a platform that the worker has."""
    name: str = attrs.field(default="", validator=matches_re(rf"{_TEXT}{{0,200}}"), metadata={"hint": "use one line"})
    """What people call it; need not be unique."""
    env: Mapping[str, str] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(ENV_PATTERN), matches_re(r"[^\x00]*")),
        metadata={"hint": "a name has letters, digits and `_`, and begins with no digit; a value has no NUL"},
    )
    """Environment variables, on top of what the platform gives every run."""
    max_run_time: int = attrs.field(default=3600, validator=[ge(1), le(MAX_RUN_TIME)])
    """Seconds from the begin of loading to the end of running; then the run is failed, `max-run-time`."""
    retries: int = attrs.field(default=5, validator=[ge(0), le(49)])
    """How often a run that was lost through no fault of its own is tried again. 49 is Taskcluster's limit."""
    priority: int = attrs.field(default=0, validator=[ge(-100), le(100)])
    """Higher goes first."""
    deadline: datetime | None = None
    """A time of day (UTC) after which nobody wants the result."""
    not_before: datetime | None = None
    """A time of day (UTC) before which the queue does not hand it out."""
    artifacts: tuple[ArtifactSpec, ...] = ()
    """What to keep of what the run made."""
    caches: tuple[CacheSpec, ...] = ()
    """Folders that outlive the run."""
    secrets: Mapping[str, Secret] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(ENV_PATTERN)),
        metadata={"hint": "a name has letters, digits and `_`, and begins with no digit"},
    )
    """Environment variable to secret; masked in the log."""
    on_exit_status: OnExitStatus = OnExitStatus()
    metadata: Mapping[str, Json] = attrs.field(factory=dict)
    """Whatever the author wants to find again; never looked at."""


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
    """A task on its way into a queue: the document, and the few things that a queue itself must know."""

    task_id: str
    document: Document
    priority: int = 0
    retries: int = 5
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
    """Proof of ownership; opaque to everyone but the queue that made it."""
    taken_until: datetime | None = None
    """When the lease ends, by the queue's clock (UTC): for people and wire formats. None: bound to a connection."""
    valid_until: float | None = None
    """The same on the running loop's clock (`loop.time()`), counted from *before* the request was sent, so that it
    errs on the safe side: a worker that could not reclaim by then has lost the run."""

    @property
    def run(self) -> RunKey:
        return RunKey(self.task_id, self.run_id)


@attrs.frozen
class Notice:
    """Advice from a queue: may be late, doubled or lost."""

    kind: Literal["cancel", "drain"]
    task_id: str = ""
    message: str = ""


# ---- what can be asked about a task ---------------------------------------------------------------------

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
    """Something that a run left in a store."""

    name: str
    size: int
    sha256: str
    content_type: str = "application/octet-stream"


@attrs.frozen
class Health:
    """Whether a machine, or a part of it, is fit to take work."""

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
