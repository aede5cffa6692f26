"""The pull policies of a run, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Sequence

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner_docker.options import DockerOptions, PullPolicy


def policies(asked: Sequence[PullPolicy], options: DockerOptions) -> Sequence[PullPolicy]:
    """Those that the task asks for, else those of the worker. Raises MalformedPayload for one that is not allowed."""
    allowed = options.allowed_pull_policies or options.pull_policy
    complaints = [
        Complaint(
            f"pull_policy[{number}]",
            f"this worker does not allow {policy!r}",
            f"take one of {', '.join(allowed)}, or let the operator add it to [docker] allowed_pull_policies",
        )
        for number, policy in enumerate(asked)
        if policy not in allowed
    ]
    if complaints:
        raise MalformedPayload(*complaints)
    return tuple(asked) or options.pull_policy
