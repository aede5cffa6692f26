"""The errors of content: what the author of the task has to change."""

from __future__ import annotations

from taskrunner.errors import TaskFailed
from taskrunner.files.archives.refusal import REASON as ARCHIVE_REFUSED

REFUSED, MISSING = "mount-refused", "mount-missing"
"""It is not what the task says, or not allowed; there is no such artifact."""


def refused(problem: str) -> TaskFailed:
    return TaskFailed(REFUSED, problem)


def missing(problem: str) -> TaskFailed:
    return TaskFailed(MISSING, problem)


def of_mount(index: int, error: TaskFailed) -> TaskFailed:
    """The error of what one mount needs, with the field of the task."""
    reason = REFUSED if error.reason == ARCHIVE_REFUSED else error.reason
    return TaskFailed(reason, f"mounts[{index}]: {error.message}")
