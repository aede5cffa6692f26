"""Which event it is when the work of a run raises: whose fault it was decides how the run ends."""

from __future__ import annotations

from taskrunner.errors import (
    ConfigError,
    MalformedPayload,
    NotSupported,
    TaskFailed,
    TaskFailedInternally,
    Unavailable,
)
from taskrunner.machines.chart import Signal
from taskrunner.machines.task import TaskEvent
from taskrunner.model import Resolution, exception, failed


def resolution_of(error: BaseException) -> Resolution:
    """How a run ends that met this error."""
    match error:
        case TaskFailed():
            return failed(error.reason, error.message)
        case MalformedPayload():
            reason, text = "malformed-payload", str(error)
        case NotSupported():
            reason, text = "malformed-payload", f"this platform does not support that: {error}"
        case Unavailable():
            reason, text = "resource-unavailable", error.message
        case TaskFailedInternally():
            reason, text = "internal-error", str(error)
        case ConfigError():
            reason, text = "internal-error", f"the worker's configuration: {error}"
        case _:
            reason, text = "internal-error", f"{type(error).__name__}: {error}"
    return exception(reason, text)


def signal_of(error: BaseException) -> Signal:
    """The event that tells a machine of it, in any state before `uploading`."""
    resolution = resolution_of(error)
    match resolution.reason:
        case "malformed-payload":
            return Signal(TaskEvent.MALFORMED, {"message": resolution.message})
        case "internal-error":
            return fatal(resolution.message)
        case _:
            return Signal(TaskEvent.FAILED, {"resolution": resolution})


def fatal(message: str) -> Signal:
    return Signal(TaskEvent.FATAL, {"message": message})


def is_ours(error: BaseException) -> bool:
    """Whether a developer of this worker, or of a plug, wants to see the traceback."""
    known = (MalformedPayload, NotSupported, TaskFailed, Unavailable, TaskFailedInternally, ConfigError, TimeoutError)
    return not isinstance(error, known)
