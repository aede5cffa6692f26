"""The values of this project: what a task, a claim, a resolution and a status are.

All are immutable, without clocks, files or networks. Times of day are aware datetimes in UTC, lengths of time are
seconds, sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import attrs
from attrs.validators import and_, deep_iterable, deep_mapping, ge, le, matches_re, max_len, min_len

from taskrunner import limits
from taskrunner.amounts import Amounts

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
Document = Mapping[str, Json]
"""A task as its author wrote it: plain JSON values, validated by the worker that runs it."""

# ---- how a run ends -------------------------------------------------------------------------------------

Ending = Literal["completed", "failed", "exception"]

RETRIED = frozenset({"worker-shutdown", "claim-expired", "intermittent-task", "resource-unavailable"})
"""Exceptions after which a queue makes a new run, while retries are left; all others are final.
A run is tried again only when its end says nothing against the task. A service that does not answer now
(`resource-unavailable`) often does a minute later, so a queue should wait before that new run."""


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


MAX_EXPIRY = 100 * 365 * 24 * 3600
"""Seconds: longer than anybody plans for, and short enough for a calendar to hold its end."""


@attrs.frozen
class Secret:
    """A value that must never be shown: a literal, or a name in the worker's configuration."""

    name: str = ""
    literal: str = attrs.field(default="", repr=False)


MAX_STRIP = 16
"""Of a path's leading parts."""


@attrs.frozen
class Source:
    """Where the files of the run come from: a commit of a git repository, or an archive."""

    repository: str = attrs.field(
        default="",
        metadata={
            "variant": "repository",
            "hint": "write a URL that git can fetch from, such as https://git.example/team/web.git, or an `archive`",
        },
    )
    """Any URL that git can fetch from, without credentials in it."""
    ref: str = attrs.field(default="", metadata={"variant": "repository"})
    """A branch, a tag, or the full id of a commit; empty for the default branch."""
    token: Secret | None = None
    """The password for the repository or the archive, over HTTP."""
    submodules: bool | tuple[str, ...] = attrs.field(default=True, metadata={"variant": "repository"})
    """Whether the files of submodules are fetched too, or the paths of those whose files are."""
    archive: str = attrs.field(
        default="",
        validator=matches_re(r"(?:https?://[^\x00-\x20\x7f]+|/[^\x00-\x1f\x7f]+)?"),
        metadata={
            "variant": "archive",
            "hint": "write an https:// URL, or the full path of an archive that the worker's configuration allows",
        },
    )
    """The URL of a tar (plain, gzip, bzip2, xz, zstd) or zip, or its full path on the worker's machine."""
    sha256: str = attrs.field(
        default="",
        validator=matches_re(r"(?:[0-9a-fA-F]{64})?"),
        metadata={"variant": "archive", "hint": "write the 64 hex digits that `sha256sum` prints"},
    )
    """The checksum of the archive. Without it, the archive is downloaded for each run, and taken as it is."""
    strip: int = attrs.field(default=0, validator=[ge(0), le(MAX_STRIP)], metadata={"variant": "archive"})
    """How many leading parts are removed from each path: 1 for an archive whose files are all in one folder."""


@attrs.frozen
class ArtifactSpec:
    """A file or a folder of a run that is kept."""

    name: str = attrs.field(validator=matches_re(limits.ARTIFACT_PATTERN), metadata={"hint": limits.ARTIFACT_HINT})
    """Its name in the store: `public/report.xml`. For a folder or a pattern, the prefix of what is found."""
    path: str = attrs.field(
        validator=matches_re(rf"/?{_INSIDE_PATTERN}"),
        metadata={"hint": "write a path inside the run's folder, without `..`"},
    )
    """Where it is, relative to the run's folder, or absolute in a container: a file, a folder, or a pattern
    (`build/**/*.whl`)."""
    optional: bool = False
    """Whether the run may succeed without it."""
    content_type: str = attrs.field(
        default="",
        validator=matches_re(r"(?:[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:;[ -~]*)?)?"),
        metadata={"hint": "write a media type such as text/plain, or leave it out"},
    )
    """Media type; guessed from the name when empty."""
    expires: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(and_(ge(1), le(MAX_EXPIRY))), metadata={"unit": "s"}
    )
    """Seconds after its upload until its store may remove it; without it, as the store is set up."""
    archive: bool = False
    """Whether a folder is kept as one tar: with its links, modes and empty folders. `.` is everything."""
    compression: Literal["none", "gzip", "zstd"] = "none"
    """How its files are compressed on their way into the store."""


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
class MountSpec:
    """Content that is put into the run before it begins, and that the run can only read: the answer of a URL, a file of
    the worker's machine, a text, or an artifact of another task."""

    target: str = attrs.field(
        validator=matches_re(rf"/?{_INSIDE_PATTERN}"), metadata={"hint": "write a path of its own, without `..`"}
    )
    """Its path in the run, relative to the run's folder, or absolute in a container."""
    url: str = attrs.field(
        default="",
        validator=matches_re(r"(?:https?://[^\x00-\x20\x7f]+)?"),
        metadata={
            "variant": "url",
            "hint": "write an https:// URL, or instead of it a `file`, a `content`, or an `artifact` with its `task`",
        },
    )
    """What to download. It needs `sha256`."""
    token: Secret | None = attrs.field(default=None, metadata={"variant": "url"})
    """The password or the token for the download."""
    file: str = attrs.field(
        default="",
        validator=matches_re(r"(?:/[^\x00-\x1f\x7f]+)?"),
        metadata={"variant": "file", "hint": "write the full path of a file that the worker's configuration allows"},
    )
    """The full path of a file on the worker's machine."""
    content: str = attrs.field(
        default="", validator=matches_re(r"[^\ud800-\udfff]*"), metadata={"variant": "content", "hint": "write a text"}
    )
    """The text of the file."""
    artifact: str = attrs.field(
        default="",
        validator=matches_re(rf"(?:{limits.ARTIFACT_PATTERN})?"),
        metadata={"variant": "artifact", "hint": limits.ARTIFACT_HINT},
    )
    """The name of an artifact of another task."""
    task: str = attrs.field(
        default="",
        validator=matches_re(rf"(?:{limits.ID_PATTERN})?"),
        metadata={"variant": "artifact", "hint": limits.ID_HINT},
    )
    """The id of that task, which is of the same queue and has completed."""
    sha256: str = attrs.field(
        default="",
        validator=matches_re(r"(?:[0-9a-fA-F]{64})?"),
        metadata={"hint": "write the 64 hex digits that `sha256sum` prints"},
    )
    """The checksum of what is fetched, before it is unpacked."""
    unpack: bool = False
    """Whether it is an archive, a tar (plain, gzip, bzip2, xz, zstd) or a zip, whose files are a folder at `target`."""
    executable: bool = False
    """Whether the file can be executed."""


@attrs.frozen
class OnExitStatus:
    """What certain exit statuses mean besides success and failure."""

    retry: tuple[int, ...] = attrs.field(default=(), validator=deep_iterable(and_(ge(1), le(255))))
    """Try again: the run is an exception, `intermittent-task`. 0 is a success and never tried again."""
    purge_caches: tuple[int, ...] = attrs.field(default=(), validator=deep_iterable(and_(ge(0), le(255))))
    """Discard the caches that this run used."""


@attrs.frozen
class ReadySpec:
    """How a service is known to be ready."""

    port: int = attrs.field(default=0, validator=[ge(0), le(65535)])
    """A TCP port that accepts connections; 0 for none."""
    command: tuple[str, ...] = attrs.field(default=(), validator=deep_iterable(matches_re(r"[^\x00]*")))
    """A command in the service that exits with 0; it is repeated until it does."""


@attrs.frozen
class ServiceSpec:
    """A container beside the run, such as a database."""

    name: str = attrs.field(validator=matches_re(limits.HOST_PATTERN), metadata={"hint": limits.HOST_HINT})
    """The host name by which the run reaches it. Its log is kept with that of the run, under this name."""
    image: str = attrs.field(validator=min_len(1))
    """The image to run; pulled when it is not there."""
    command: tuple[str, ...] = attrs.field(default=(), validator=deep_iterable(matches_re(r"[^\x00]*")))
    """Program and arguments, one by one; empty for the image's own."""
    env: Mapping[str, str] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(limits.ENV_PATTERN), matches_re(r"[^\x00]*")),
        metadata={"hint": f"{limits.ENV_HINT}; a value has no NUL"},
    )
    """Environment variables of the service."""
    secrets: Mapping[str, Secret] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(limits.ENV_PATTERN)),
        metadata={"hint": limits.ENV_HINT},
    )
    """Environment variable to secret; masked in all logs of the run."""
    resources: Amounts = attrs.field(factory=Amounts)
    """What it may use, out of the task's `resources`: memory, cpus and pids. Without, an equal share of what is left
    there."""
    ready: ReadySpec = ReadySpec()
    """How it is known to be ready: `port` or `command`. By default by the HEALTHCHECK of its image, and without one as
    soon as it has started."""
    limit: int = attrs.field(default=60, validator=[ge(1), le(3600)], metadata={"unit": "s"})
    """Seconds from its start until it must be ready; otherwise the run is failed, `service-failed`."""


@attrs.frozen
class Task:
    """The work to run: the fields that mean the same on every platform. Those of its platform stand beside them."""

    # Shown in editors, by the JSON Schema. The platform's fields are a payload of its own class. The validators serve
    # the decoder of documents and the schema alike.

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
    max_run_time: int = attrs.field(default=3600, validator=[ge(1), le(MAX_RUN_TIME)], metadata={"unit": "s"})
    """Seconds from the beginning of loading to the end of running; then the run is failed, `max-run-time`."""
    resources: Amounts = attrs.field(factory=Amounts)
    """What the run may use, of what the machine has: its platform keeps it to the memory, CPUs and processes, and a
    worker that counts its resources takes it only when they are free."""
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
    mounts: tuple[MountSpec, ...] = attrs.field(default=(), validator=max_len(64))
    """Content that the run can only read: downloads, files, texts, artifacts of other tasks."""
    secrets: Mapping[str, Secret] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(limits.ENV_PATTERN)),
        metadata={"hint": limits.ENV_HINT},
    )
    """Environment variable to secret; masked in the log."""
    services: tuple[ServiceSpec, ...] = attrs.field(default=(), validator=max_len(32))
    """Containers beside the run, such as a database. They are started in this order, each when the one before it is
    ready, and end with the run."""
    interactive: bool = False
    """Whether the standard input of the command stays open, for `taskrunner attach`."""
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
    """The lease on a run: ours until `valid_until`, longer after each reclaim.

    A queue whose claims carry more, such as credentials for its other services, has a subclass with further fields
    (`repr=False`). Of these nothing outlives the worker: crash recovery hands a run back by its last `token` alone.
    """

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

    kind: Literal["cancel", "reclaim", "drain"]
    """`cancel`: the task was canceled. `reclaim`: the run of this task may be lost, so its claim is renewed now, which
    decides about that. `drain`: the worker finishes its runs, and stops."""
    task_id: str = ""
    message: str = ""


@attrs.frozen
class Move:
    """The effect of an event on a machine, of a run or a worker."""

    source: str
    """The state before."""
    event: str
    target: str
    """The state after; the same one when the event has not moved the machine."""

    @property
    def moved(self) -> bool:
        return self.source != self.target


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
