"""What can go wrong, and whose fault it is.

Each class says what follows from it::

    TaskrunnerError
    ├── MalformedPayload       the author of the task    resolve `malformed-payload`, with all complaints at once
    ├── NotSupported           the author, or none       the plugin lacks an optional operation
    ├── TaskFailed             this run, its own work    resolve `failed` with the reason it names
    ├── TaskFailedInternally   this run, our side        resolve `internal-error`; the worker goes on
    │   └── MachineFault       this machine, its disk    resolve `resource-unavailable`; the worker claims no more until
    │                                                    it is over
    ├── Reject                 not here, not now         the run is handed back, and costs no retry
    ├── Unavailable            none: it may pass         the outcome is unknown; the same call may be sent again
    │   └── RunLost            none: what ran it ended   resolve `worker-shutdown`, so that the run is tried again
    ├── ClaimLost              final for this claim      report nothing, upload nothing
    ├── Conflict               the caller                the same id was used for something else
    ├── UnknownTask            the caller                there is no such task
    ├── ConfigError            the operator              names the file and the key
    ├── WorkerBroken           this machine              the worker stops
    └── Bug                    us: "cannot happen"       a call in the wrong order; the worker stops

Any other error is treated as the worst that fits: inside a run it is `internal-error`, in the worker itself
`WorkerBroken`. An OSError is a MachineFault when its number says so (`machine_fault`).
"""

from __future__ import annotations

import errno
from typing import Literal

import attrs


class TaskrunnerError(Exception):
    """The base class of the errors that this library raises on purpose."""


@attrs.frozen
class Complaint:
    """One thing wrong with a document: where, what, and what to do about it."""

    path: str
    """Where, as in `artifacts[0].path`; empty for the document itself."""
    problem: str
    """What is wrong. Never contains the value of a secret."""
    fix: str = ""
    """What to write instead."""

    def __str__(self) -> str:
        text = f"{self.path}: {self.problem}" if self.path else self.problem
        return f"{text} ({self.fix})" if self.fix else text


class MalformedPayload(TaskrunnerError):
    """The author of the task has to change it. Carries every complaint, not only the first."""

    def __init__(self, *complaints: Complaint) -> None:
        super().__init__(*complaints)
        self.complaints = complaints

    def __str__(self) -> str:
        return "\n".join(map(str, self.complaints))


class NotSupported(TaskrunnerError):
    """This plugin does not have that optional operation."""


class TaskFailed(TaskrunnerError):
    """The run's own work did not succeed: the run is `failed`.

    `reason` is a short stable word for scripts (`clone-failed`). The text is for people: which step, why, and what to
    do.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason, self.message = reason, message

    def __str__(self) -> str:
        return self.message


class TaskFailedInternally(TaskrunnerError):
    """The worker or a plugin failed in this run; other runs go on."""


class MachineFault(TaskFailedInternally):
    """This machine has no room for the worker's own files, or its disk fails. It says nothing against the task.

    `folder` is where it happened, if that is known: the home or another disk of the worker's.
    """

    def __init__(self, message: str, folder: str = "") -> None:
        super().__init__(message, folder)
        self.message, self.folder = message, folder

    def __str__(self) -> str:
        return self.message


_OF_THE_MACHINE = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO,  # a disk that is full, over its quota, read-only or broken
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN,  # no more files, memory or processes
})  # fmt: skip


def machine_fault(error: BaseException) -> MachineFault | None:
    """The fault of the machine that an error tells of; None when it tells of something else."""
    if isinstance(error, MachineFault):
        return error
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        return MachineFault(f"this machine: {error}")
    return None


def local_failure(message: str, error: OSError, folder: str = "") -> TaskFailedInternally:
    """What to raise when the worker's own work with a file or a process has failed with this error: MachineFault, if
    that is the machine's fault. See MachineFault for `folder`."""
    return MachineFault(message, folder) if machine_fault(error) else TaskFailedInternally(message)


class Reject(TaskrunnerError):
    """This machine cannot take the run now: the run is handed back, to be granted again after `after` seconds at the
    earliest. It costs the task no retry. The message reaches the queue, and the peer that has dispatched the run.
    """

    def __init__(self, after: float, message: str) -> None:
        super().__init__(after, message)
        self.after, self.message = after, message

    def __str__(self) -> str:
        return self.message


class Unavailable(TaskrunnerError):
    """A service outside did not answer. The outcome is unknown; the same call may be sent again.

    `retry_after` is the wait in seconds that the service asked for, if it did.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after)
        self.message, self.retry_after = message, retry_after

    def __str__(self) -> str:
        return self.message


class RunLost(Unavailable):
    """What ran the command is gone, and the command with it: the container engine has ended or was restarted. It says
    nothing against the task. A service that the run only uses, such as a registry, is Unavailable.
    """


Lost = Literal["superseded", "expired", "canceled", "resolved", "deadline", "disconnected", "unconfirmed"]
"""Why a claim is lost: another claim has the run · its lease ended · a submitter cancelled it · it has a resolution
already · the queue lets no run go on so long · its peer is gone · no reclaim was confirmed before the lease ended."""


class ClaimLost(TaskrunnerError):
    """The run is no longer ours. `message` says more for people, such as the words of the one who cancelled it."""

    def __init__(self, why: Lost, message: str = "") -> None:
        super().__init__(why, message)
        self.why, self.message = why, message

    def __str__(self) -> str:
        return f"{self.why}: {self.message}" if self.message else self.why


class Conflict(TaskrunnerError):
    """The same id was used before for another document, or the run has another resolution already."""


class UnknownTask(TaskrunnerError):
    """No task has this id."""


class ConfigError(TaskrunnerError):
    """The configuration is wrong. The text names the file and the key, and says what to write instead."""


class WorkerBroken(TaskrunnerError):
    """This machine cannot go on; the worker stops and says why."""


class Bug(TaskrunnerError):
    """Cannot happen: a plugin was called in the wrong order, or an invariant of this library does not hold."""
