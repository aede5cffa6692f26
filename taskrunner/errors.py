"""What can go wrong, and whose fault it is.

Each class says what follows from it::

    TaskrunnerError
    ├── MalformedPayload       the author of the task    resolve `malformed-payload`, with all complaints at once
    ├── NotSupported           the author, or none       the plugin lacks an optional operation
    ├── TaskFailed             this run, its own work    resolve `failed` with the reason it names
    ├── TaskFailedInternally   this run, our side        resolve `internal-error`; the worker goes on
    ├── Unavailable            none: it may pass         the outcome is unknown; the same call may be sent again
    ├── ClaimLost              final for this claim      report nothing, upload nothing
    ├── Conflict               the caller                the same id was used for something else
    ├── UnknownTask            the caller                there is no such task
    ├── ConfigError            the operator              names the file and the key
    ├── WorkerBroken           this machine              the worker stops
    └── Bug                    us: "cannot happen"       a call in the wrong order; the worker stops

Any other error is treated as the worst that fits: inside a run it is `internal-error`, in the worker itself
`WorkerBroken`.
"""

from __future__ import annotations

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


class Unavailable(TaskrunnerError):
    """A service outside did not answer. The outcome is unknown; the same call may be sent again.

    `retry_after` is the wait in seconds that the service asked for, if it did.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after)
        self.message, self.retry_after = message, retry_after

    def __str__(self) -> str:
        return self.message


class ClaimLost(TaskrunnerError):
    """The run is no longer ours.

    `why` is one of: superseded, expired, canceled, resolved, deadline, disconnected, unconfirmed.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


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
