"""Whether a run that ended is followed by another one, and when."""

from __future__ import annotations

from taskrunner.model import RETRIED, Resolution

FIRST_DELAYS = {"intermittent-task": 1.0, "resource-unavailable": 2.0}
"""Seconds before the first retry, by the reason of the run's end; each next delay is twice as long. A registry or a
git server that is restarted answers again within a minute, which is what the default of five retries covers. Without
an entry there is no delay: a lost worker says nothing against the next one."""

MAX_DELAY = 60.0
"""Seconds: after a minute, more frequent retries do not help."""


def is_retried(resolution: Resolution, retries_left: int) -> bool:
    """Whether the task runs again: its run was lost through no fault of its own, and retries are left."""
    return resolution.kind == "exception" and resolution.reason in RETRIED and retries_left > 0


def retry_delay(reason: str, spent: int) -> float:
    """Seconds until the next run, when `spent` retries were used before."""
    return float(min(FIRST_DELAYS.get(reason, 0.0) * 2 ** min(spent, 16), MAX_DELAY))
