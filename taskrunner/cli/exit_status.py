"""The exit statuses of the verbs, by which a script knows what happened."""

from __future__ import annotations

from taskrunner.model import TaskStatus

NOTHING_DONE = 1
"""There was nothing to cancel, retry or print."""
USAGE = 2
"""A mistake in the call or the configuration: click's own."""
BROKEN = 4
"""The worker could not go on, or something outside (the queue, the disk) does not answer now: trying again may help."""
TIMED_OUT = 124
"""The time of `wait` was over: that of timeout(1)."""
REFUSED = 125
"""`exec` or `attach` itself has failed, not the command: that of env(1), timeout(1) and `docker exec`."""
NOT_STARTED = 126
"""The command of `exec` could not be started: as in a shell."""
SIGNALED = 128
"""A shell adds to it the number of the signal that ended a command."""
INTERRUPTED = 130
"""Ctrl-C: that of a shell, 128 + SIGINT."""
NO_READER = 141
"""The reader of stdout has gone: 128 + SIGPIPE."""

OF_RESOLUTION = {"completed": 0, "failed": 1, "exception": 3}
"""The exit statuses of `run --task` and `wait`."""


def status_of(task: TaskStatus) -> int:
    """The exit status for a task; one that is not resolved counts as an exception."""
    return OF_RESOLUTION[task.resolution.kind if task.resolution else "exception"]
