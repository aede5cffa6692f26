"""How a run ended, in the queue's words."""

from __future__ import annotations

from typing import Any

import attrs

from taskrunner.errors import ClaimLost
from taskrunner.model import Resolution

RELEASED = "worker-shutdown"
"""The reason of a run that is handed back: the queue has no other way, and it costs the task a retry."""

_REASONS = {
    "worker-shutdown": "worker-shutdown",
    "claim-expired": "worker-shutdown",
    "intermittent-task": "intermittent-task",
    "resource-unavailable": "intermittent-task",
    "malformed-payload": "malformed-payload",
}
"""What this project tries again, the queue must try again: its own `resource-unavailable` is final."""

_BY_QUEUE = frozenset({"deadline-exceeded", "canceled"})
"""The queue resolves such a run itself, and takes no report."""


@attrs.frozen
class Report:
    """One call, and the state of the run after it."""

    method: str
    state: str
    reason: str
    payload: tuple[dict[str, Any], ...] = ()


def report_of(resolution: Resolution) -> Report:
    """Raises ClaimLost for an end that the queue knows before us."""
    if resolution.kind == "completed":
        return Report("reportCompleted", "completed", "completed")
    if resolution.kind == "failed":
        return Report("reportFailed", "failed", "failed")
    if resolution.reason in _BY_QUEUE:
        raise ClaimLost("deadline", "the queue itself resolves a task at its deadline")
    return exception_report(_REASONS.get(resolution.reason, "internal-error"))


def exception_report(reason: str) -> Report:
    return Report("reportException", "exception", reason, ({"reason": reason},))
