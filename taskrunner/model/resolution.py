"""How a run ends."""

from __future__ import annotations

from typing import Literal

import attrs

from taskrunner.model.document import Document, Json  # noqa: F401  a Document names it when its type is resolved

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
