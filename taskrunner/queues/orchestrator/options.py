"""The table `[queue.orchestrator]`."""

from __future__ import annotations

import attrs
from attrs.validators import deep_iterable, ge, le, matches_re

from taskrunner.interfaces.source import OVER_NETWORK
from taskrunner.limits import REPOSITORY_HINT, REPOSITORY_PATTERN
from taskrunner.model import MAX_RUN_TIME
from taskrunner.queues.listening import ListenOptions

ECR = "ecr"
"""The registry of the worker's AWS account: its host is part of Amazon's answer to a login."""

_REGISTRY = r"[A-Za-z0-9.\[\]:-]+"
_HINT = {"hint": "write host and port, as in front of an image: registry.example:5000"}


@attrs.frozen
class OrchestratorOptions:
    """What the orchestrator may have built, and where the images go."""

    listen: ListenOptions = attrs.field(factory=ListenOptions)
    repository_base: str = attrs.field(
        default="https://github.com",
        validator=matches_re(r"(?:https?|git|file)://[^\x00-\x20\x7f@?#]+|/[^\x00-\x1f\x7f]*"),
        metadata={"hint": "write the begin of a URL, without a password: https://git.example.com"},
    )
    """What stands before the `owner/repo` of a job."""
    repositories: tuple[str, ...] = attrs.field(
        default=OVER_NETWORK,
        validator=deep_iterable(matches_re(REPOSITORY_PATTERN)),
        metadata={"hint": REPOSITORY_HINT},
    )
    """The repositories that jobs may name, among those that `[source]` allows to all tasks: patterns as there. A path
    of this machine as `repository_base` must be among them."""
    registry: str = attrs.field(default=ECR, validator=matches_re(_REGISTRY), metadata=_HINT)
    """Where an image goes whose name has no registry."""
    registries: tuple[str, ...] = attrs.field(
        default=(), validator=deep_iterable(matches_re(_REGISTRY)), metadata=_HINT
    )
    """The registries that jobs may name in front of an image. Without any, none."""
    max_run_time: int = attrs.field(default=3600, validator=[ge(1), le(MAX_RUN_TIME)], metadata={"unit": "s"})
    """Seconds for a job whose call has no deadline, or a later one."""
