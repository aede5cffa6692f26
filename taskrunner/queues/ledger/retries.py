"""Whether a run that ended is followed by another one, and when."""

from __future__ import annotations

from taskrunner.model import RETRIED, Resolution

FIRST_DELAY = 1.0
"""Seconds before the first retry of a task that failed for a while only; each next waits twice as long."""

LONGEST_DELAY = 60.0
"""Seconds: what has not passed after a minute will not pass much sooner if it is tried more often."""


def earns_retry(resolution: Resolution, retries_left: int) -> bool:
    """Whether the task runs again: it was lost through no fault of its own, and may still be tried."""
    return resolution.kind == "exception" and resolution.reason in RETRIED and retries_left > 0


def retry_delay(reason: str, spent: int) -> float:
    """Seconds until the next run, when `spent` retries were used before.

    Only what the task itself calls intermittent is worth a pause; a worker that went away says nothing against another.
    """
    if reason != "intermittent-task":
        return 0.0
    return float(min(FIRST_DELAY * 2 ** min(spent, 16), LONGEST_DELAY))
