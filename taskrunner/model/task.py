"""A task: the fields that mean the same on every platform."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs
from attrs.validators import and_, deep_iterable, deep_mapping, ge, le, matches_re, max_len

from taskrunner import limits
from taskrunner.amounts import Amounts
from taskrunner.model.document import Json, Secret
from taskrunner.model.run_files import ArtifactSpec, CacheSpec, MountSpec, Source
from taskrunner.model.service import ServiceSpec

DEFAULT_RETRIES = 5
"""Taskcluster's default."""

MAX_RUN_TIME = 7 * 24 * 3600
"""Seconds. What runs longer than a week is a service; GitHub ends a job of its own runners after 5 days."""


@attrs.frozen
class OnExitStatus:
    """What certain exit statuses mean besides success and failure."""

    retry: tuple[int, ...] = attrs.field(default=(), validator=deep_iterable(and_(ge(1), le(255))))
    """Try again: the run is an exception, `intermittent-task`. 0 is a success and never tried again."""
    purge_caches: tuple[int, ...] = attrs.field(default=(), validator=deep_iterable(and_(ge(0), le(255))))
    """Discard the caches that this run used."""


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
        default="",
        validator=matches_re(rf"{limits.PRINTABLE}{{0,{limits.LONGEST_NAME}}}"),
        metadata={"hint": "use one line"},
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
