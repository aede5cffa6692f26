"""The limits of a container, and what the operator says about them. Memory, CPUs and processes are the task's
`resources`, which mean the same on every platform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import attrs
from attrs.validators import and_, deep_mapping, ge, in_, le, matches_re, optional

from taskrunner.amounts import MAX_COUNT
from taskrunner.byte_counts import MAX_BYTES, ByteCount, bytes_text
from taskrunner.errors import Complaint
from taskrunner.schema.validators import at_key

ULIMITS = (
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
)
"""Those of Linux without `nproc`, which counts the processes that a user has on the whole machine."""

MIN_BYTES = 4096
"""A page. Docker takes 0 for no limit."""

_SIZE = optional(and_(ge(MIN_BYTES), le(MAX_BYTES)))


@attrs.frozen
class Sizes:
    """The sizes that a task, a default and a maximum can have."""

    shm: ByteCount | None = attrs.field(
        default=None, validator=_SIZE, metadata={"doc": "Bytes of /dev/shm, which count as memory: 64MiB."}
    )
    disk: ByteCount | None = attrs.field(
        default=None,
        validator=_SIZE,
        metadata={"doc": "Bytes of the files that the container may write beside its mounts: 10GiB."},
    )


@attrs.frozen
class ContainerLimits(Sizes):
    """The limits of one container, beside the memory, CPUs and processes of `resources`."""

    tmpfs: Mapping[str, ByteCount] = attrs.field(
        factory=dict,
        validator=deep_mapping(
            matches_re(r"/[^\x00-\x1f\x7f:,]*[^\x00-\x1f\x7f:,/.]"), and_(ge(MIN_BYTES), le(MAX_BYTES))
        ),
        metadata={
            "doc": 'Folders in memory, each with its size: {"/tmp" = "256MiB"}.',
            "hint": 'write full paths and a size of at least a page: {"/tmp" = "256MiB"}',
        },
    )
    ulimits: Mapping[str, int] = attrs.field(
        factory=dict,
        validator=deep_mapping(in_(ULIMITS), and_(ge(0), le(MAX_BYTES))),
        metadata={
            "doc": "Limits of each process, soft and hard, by the names of Docker: {nofile = 1024, core = 0}.",
            "hint": f"known are {', '.join(ULIMITS)}, from 0; for processes, write `pids` in `resources`",
        },
    )


@attrs.frozen
class LimitOptions:
    """The `[docker.limits]` table of the worker's configuration."""

    default: Sizes = attrs.field(factory=Sizes, metadata={"doc": "What a container gets whose task says nothing."})
    maximum: Sizes = attrs.field(factory=Sizes, metadata={"doc": "The most that a task may ask for."})
    pids: int = attrs.field(
        default=2048,
        validator=and_(ge(0), le(MAX_COUNT)),
        metadata={"doc": "Processes and threads of a container whose task names no `pids` in `resources`; 0: any."},
    )

    def applied(self, asked: ContainerLimits) -> ContainerLimits:
        """The limits of a task, with the defaults."""
        shm = self.default.shm if asked.shm is None else asked.shm
        return attrs.evolve(asked, shm=shm, disk=self.default.disk if asked.disk is None else asked.disk)


def tmpfs_complaints(limits: ContainerLimits) -> Iterator[Complaint]:
    """The paths that patterns cannot refuse."""
    for path in limits.tmpfs:
        if str(PurePosixPath(path)) != path or ".." in PurePosixPath(path).parts:
            yield Complaint(at_key("limits.tmpfs", path), "is not plain", "write it without . and ..")


def limit_complaints(asked: ContainerLimits, options: LimitOptions) -> Iterator[Complaint]:
    """What is more than the operator allows."""
    for name in ("shm", "disk"):
        wanted, most = getattr(asked, name), getattr(options.maximum, name)
        if wanted is not None and most is not None and wanted > most:
            what = f"{bytes_text(wanted)} is more than this worker allows, {bytes_text(most)}"
            fix = f"ask for less, or let the operator raise {name} in [docker.limits.maximum]"
            yield Complaint(f"limits.{name}", what, fix)


def limit_option_complaints(options: LimitOptions) -> Iterator[Complaint]:
    """A default that no task could have by asking for it."""
    for name in ("shm", "disk"):
        default, most = getattr(options.default, name), getattr(options.maximum, name)
        if default is not None and most is not None and default > most:
            yield Complaint(f"limits.default.{name}", "is more than the maximum", "lower it, or raise the maximum")
