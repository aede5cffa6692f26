"""The daemon's reports on a build that runs: BuildKit's `StatusResponse`.

Field numbers: https://github.com/moby/buildkit/blob/v0.8.2/api/services/control/control.proto.
"""

from __future__ import annotations

from typing import Any, TypeVar

import attrs

from taskrunner_docker.buildkit.protobuf import Table, Value, as_bool, as_bytes, as_int, as_text, as_time, read_message

T = TypeVar("T")


@attrs.frozen
class Vertex:
    """A step of the build, each time that its state changes."""

    digest: str = ""
    name: str = ""
    """As the Dockerfile has it: `[base 2/5] RUN make`."""
    cached: bool = False
    started: float | None = None
    """Seconds since 1970, as all times here."""
    completed: float | None = None
    error: str = ""


@attrs.frozen
class VertexStatus:
    """The progress of a part of a step: a layer that is pulled, the context that is sent."""

    id: str = ""
    vertex: str = ""
    current: int = 0
    total: int = 0
    completed: float | None = None


@attrs.frozen
class VertexLog:
    """A piece of the output of a step, cut anywhere."""

    vertex: str = ""
    time: float = 0.0
    stream: int = 1
    """1 for standard output, 2 for errors."""
    data: bytes = b""


@attrs.frozen
class VertexWarning:
    """A warning about the Dockerfile."""

    vertex: str = ""
    text: str = ""
    url: str = ""


@attrs.frozen
class Trace:
    """One message: every change since the last."""

    vertexes: tuple[Vertex, ...] = ()
    statuses: tuple[VertexStatus, ...] = ()
    outputs: tuple[VertexLog, ...] = ()
    warnings: tuple[VertexWarning, ...] = ()


def _last(cls: type[T], table: Table, value: Value) -> T:
    """An instance made of the last value of each field: protobuf's rule for a field that comes twice."""
    found: dict[str, Any] = {name: values[-1] for name, values in read_message(as_bytes(value), table).items()}
    return cls(**found)


_VERTEX: Table = {
    1: ("digest", as_text),
    3: ("name", as_text),
    4: ("cached", as_bool),
    5: ("started", as_time),
    6: ("completed", as_time),
    7: ("error", as_text),
}
_STATUS: Table = {
    1: ("id", as_text),
    2: ("vertex", as_text),
    4: ("current", as_int),
    5: ("total", as_int),
    8: ("completed", as_time),
}
_LOG: Table = {1: ("vertex", as_text), 2: ("time", as_time), 3: ("stream", as_int), 4: ("data", as_bytes)}
_WARNING: Table = {1: ("vertex", as_text), 3: ("text", as_text), 5: ("url", as_text)}
_TRACE: Table = {
    1: ("vertexes", lambda value: _last(Vertex, _VERTEX, value)),
    2: ("statuses", lambda value: _last(VertexStatus, _STATUS, value)),
    3: ("outputs", lambda value: _last(VertexLog, _LOG, value)),
    4: ("warnings", lambda value: _last(VertexWarning, _WARNING, value)),
}


def read_trace(message: bytes) -> Trace:
    """Decodes one message. Raises WireError."""
    return Trace(**{name: tuple(values) for name, values in read_message(message, _TRACE).items()})
