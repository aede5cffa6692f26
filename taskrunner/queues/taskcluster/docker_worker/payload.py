"""The payload of docker-worker, as task authors write it: the names here are theirs."""
# ruff: noqa: N815  the names of the payload

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs
from attrs.validators import and_, deep_iterable, ge, in_, le, matches_re

from taskrunner.limits import ARTIFACT_HINT, ARTIFACT_PATTERN, ID_PATTERN
from taskrunner.model import MAX_RUN_TIME, Json

DEFAULT_LOG = "public/logs/live.log"


@attrs.frozen
class PayloadArtifact:
    """A file or a folder of the container that is kept."""

    type: str = attrs.field(validator=in_(("file", "directory")), metadata={"hint": "write file or directory"})
    path: str
    """Absolute."""
    expires: str | None = None
    """A time of day; by default that of the task."""


@attrs.frozen
class TaskImage:
    """An image that is an artifact of a task."""

    type: Literal["task-image"]
    taskId: str = attrs.field(validator=matches_re(ID_PATTERN), metadata={"hint": "write the id of a task"})
    path: str = attrs.field(validator=matches_re(ARTIFACT_PATTERN), metadata={"hint": ARTIFACT_HINT})
    """The name of the artifact."""


@attrs.frozen
class IndexedImage:
    """An image that is an artifact of the task that the index has under a name."""

    type: Literal["indexed-image"]
    namespace: str = attrs.field(
        validator=matches_re(r"[!-~]{1,255}"), metadata={"hint": "write the name by which the index has the task"}
    )
    path: str = attrs.field(validator=matches_re(ARTIFACT_PATTERN), metadata={"hint": ARTIFACT_HINT})


ImageArtifact = TaskImage | IndexedImage


@attrs.frozen
class NamedImage:
    """An image of a registry."""

    type: Literal["docker-image"]
    name: str


@attrs.frozen
class PayloadExitStatus:
    """What certain exit statuses mean."""

    retry: tuple[int, ...] = attrs.field(default=(), validator=deep_iterable(and_(ge(1), le(255))))
    purgeCaches: tuple[int, ...] = attrs.field(default=(), validator=deep_iterable(and_(ge(0), le(255))))


@attrs.frozen
class Devices:
    """Devices of the host."""

    loopbackVideo: bool = False
    loopbackAudio: bool = False
    hostSharedMemory: bool = False
    kvm: bool = False


@attrs.frozen
class PayloadCapabilities:
    """What the container may do beyond the usual."""

    privileged: bool = False
    disableSeccomp: bool = False
    devices: Devices = Devices()


@attrs.frozen
class Features:
    """What docker-worker can do for a task beside running its command."""

    localLiveLog: bool = True
    bulkLog: bool = True
    artifacts: bool = True
    taskclusterProxy: bool = False
    interactive: bool = False
    dind: bool = False
    dockerSave: bool = False
    allowPtrace: bool = False
    chainOfTrust: bool = False


@attrs.frozen
class Payload:
    """`task.payload`."""

    image: Json
    """A text, or one of the tables of this module."""
    maxRunTime: int = attrs.field(
        validator=[ge(1), le(MAX_RUN_TIME)], metadata={"hint": f"write seconds, from 1 to {MAX_RUN_TIME}"}
    )
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict)
    cache: Mapping[str, str] = attrs.field(factory=dict)
    """Name to path."""
    artifacts: Mapping[str, PayloadArtifact] = attrs.field(factory=dict)
    """Name to what it is."""
    features: Features = Features()
    capabilities: PayloadCapabilities = PayloadCapabilities()
    onExitStatus: PayloadExitStatus = PayloadExitStatus()
    log: str = attrs.field(
        default=DEFAULT_LOG, validator=matches_re(ARTIFACT_PATTERN), metadata={"hint": ARTIFACT_HINT}
    )
    """The name of the artifact that is the log."""
    supersederUrl: str = ""
    """Without an effect, as in docker-worker."""
