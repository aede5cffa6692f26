"""The verbs of the door: what each request asks of the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs
from attrs.validators import and_, ge, le, optional

from taskrunner.errors import MalformedPayload
from taskrunner.schema.complaints import suggestion
from taskrunner.schema.decode import decode
from taskrunner.worker.door.attach_request import AttachRequest
from taskrunner.worker.door.exec_request import ExecRequest
from taskrunner.worker.door.protocol import DoorError
from taskrunner.worker.door.report import WorkerReport

if TYPE_CHECKING:
    from taskrunner.runs.run import TaskRun

MAX_PAUSE = 366 * 24 * 3600.0
"""Seconds. Longer is a mistake; without a time, a pause has no end of its own."""


class Operable(Protocol):
    """The operator's side of a worker."""

    def status(self) -> WorkerReport: ...

    def pause(self, seconds: float | None = None) -> None: ...

    def resume(self) -> None: ...

    def drain(self, *, now: bool = False) -> None: ...

    def operated_run(self, task_id: str, run_id: int | None = None) -> TaskRun: ...


@attrs.frozen
class StatusRequest:
    def apply(self, worker: Operable) -> None:
        """The report follows each verb."""


@attrs.frozen
class PauseRequest:
    seconds: float | None = attrs.field(
        default=None, validator=optional(and_(ge(0.0), le(MAX_PAUSE))), metadata={"unit": "s"}
    )

    def apply(self, worker: Operable) -> None:
        worker.pause(self.seconds)


@attrs.frozen
class ResumeRequest:
    def apply(self, worker: Operable) -> None:
        worker.resume()


@attrs.frozen
class DrainRequest:
    now: bool = False

    def apply(self, worker: Operable) -> None:
        worker.drain(now=self.now)


DoorRequest = StatusRequest | PauseRequest | ResumeRequest | DrainRequest
"""Those that are answered by a report."""

StreamRequest = ExecRequest | AttachRequest
"""Those that take over the connection."""

VERBS: Mapping[str, type[DoorRequest | StreamRequest]] = {
    "status": StatusRequest,
    "pause": PauseRequest,
    "resume": ResumeRequest,
    "drain": DrainRequest,
    "exec": ExecRequest,
    "attach": AttachRequest,
}


def request_of(fields: Mapping[str, Any]) -> DoorRequest | StreamRequest:
    """The request in a parsed line. Raises DoorError, which names what is wrong."""
    rest = dict(fields)
    verb = rest.pop("verb", None)
    if not isinstance(verb, str) or verb not in VERBS:
        name = verb if isinstance(verb, str) else ""
        raise DoorError("malformed", f"verb: is missing or not known here ({suggestion(name, VERBS)})")
    try:
        return decode(VERBS[verb], rest)
    except MalformedPayload as error:
        raise DoorError("malformed", str(error)) from None
