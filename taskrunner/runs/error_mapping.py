"""Maps an error of a run's work to an event: the type of the error decides, never its text."""

from __future__ import annotations

from taskrunner.blocking import OverLimit
from taskrunner.errors import (
    ClaimLost,
    ConfigError,
    MalformedPayload,
    NotSupported,
    Reject,
    RunLost,
    TaskFailed,
    TaskFailedInternally,
    Unavailable,
    machine_fault,
)
from taskrunner.machines.chart import Signal
from taskrunner.machines.task import TaskEvent
from taskrunner.model import Resolution, exception, failed

KNOWN = (MalformedPayload, NotSupported, Reject, TaskFailed, Unavailable, TaskFailedInternally, ConfigError, OverLimit)
"""Errors whose text is enough. For any other one a developer needs the traceback."""


def signal_of(error: BaseException) -> Signal:
    """The event of an error that the work of a state raised."""
    if machine_fault(error):
        return Signal(TaskEvent.FAILED, {"resolution": resolution_of(error)})
    match error:
        case MalformedPayload() | NotSupported():
            return Signal(TaskEvent.MALFORMED, {"message": message_of(error)})
        case TaskFailed() | Unavailable() | Reject():
            return Signal(TaskEvent.FAILED, {"resolution": resolution_of(error)})
        case _:
            return Signal(TaskEvent.FATAL, {"message": message_of(error)})


def signal_of_loss(lost: ClaimLost) -> Signal:
    """The event of a lost claim."""
    if lost.why == "canceled":
        return Signal(TaskEvent.CANCEL, {"message": lost.message})
    return Signal(TaskEvent.RECLAIM_FAILED, {"why": lost.why, "message": lost.message})


def resolution_of(error: BaseException) -> Resolution:
    """The resolution of a run whose work raised this error."""
    if fault := machine_fault(error):
        return exception("resource-unavailable", fault.message)
    match error:
        case TaskFailed():
            return failed(error.reason, error.message)
        case MalformedPayload() | NotSupported():
            return exception("malformed-payload", message_of(error))
        case RunLost():
            return exception("worker-shutdown", message_of(error))
        case Unavailable() | Reject():
            return exception("resource-unavailable", message_of(error))
        case _:
            return exception("internal-error", message_of(error))


def message_of(error: BaseException) -> str:
    """The text of an error for a person."""
    match error:
        case NotSupported():
            return f"this platform does not support that: {error}"
        case ConfigError():
            return f"the worker's configuration: {error}"
        case MalformedPayload() | Reject() | TaskFailed() | Unavailable() | TaskFailedInternally():
            return str(error)
        case _:
            return f"{type(error).__name__}: {error}"


def needs_traceback(error: BaseException) -> bool:
    """Whether a developer of this worker or of a plugin needs the traceback of this error."""
    return not isinstance(error, KNOWN) and machine_fault(error) is None
