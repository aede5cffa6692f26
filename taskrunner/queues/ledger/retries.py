"""Whether a run that ended is followed by another one, and when."""

from __future__ import annotations

from taskrunner.model import RETRIED, Resolution

FIRST_DELAY = 1.0
"""Seconds before the first retry of an intermittent task; each next delay is twice as long."""

MAX_DELAY = 60.0
"""Seconds: after a minute, more frequent retries do not help."""


def is_retried(resolution: Resolution, retries_left: int) -> bool:
    """Whether the task runs again: its run was lost through no fault of its own, and retries are left."""
    return resolution.kind == "exception" and resolution.reason in RETRIED and retries_left > 0


def retry_delay(reason: str, spent: int) -> float:
    """Seconds until the next run, when `spent` retries were used before.

    Only a task that calls itself intermittent is delayed: a lost worker says nothing against the next one.
    """
    if reason != "intermittent-task":
        return 0.0
    return float(min(FIRST_DELAY * 2 ** min(spent, 16), MAX_DELAY))
