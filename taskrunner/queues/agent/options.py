"""The table `[queue.agent]`."""

from __future__ import annotations

import attrs
from attrs.validators import deep_iterable, ge, le, matches_re

from taskrunner.interfaces.source import OVER_NETWORK
from taskrunner.limits import REPOSITORY_HINT, REPOSITORY_PATTERN
from taskrunner.model import MAX_RUN_TIME
from taskrunner.queues.listening import ListenOptions


@attrs.frozen
class AgentOptions:
    """What the callers of an agent may do."""

    listen: ListenOptions = attrs.field(factory=ListenOptions)
    repositories: tuple[str, ...] = attrs.field(
        default=OVER_NETWORK,
        validator=deep_iterable(matches_re(REPOSITORY_PATTERN)),
        metadata={"hint": REPOSITORY_HINT},
    )
    """The repositories that callers may name as `GIT_URL`, among those that `[source]` allows to all tasks: patterns
    as there. By default all over HTTPS, HTTP and git's own protocol, and no path of this machine."""
    max_run_time: int = attrs.field(default=6 * 3600, validator=[ge(1), le(MAX_RUN_TIME)], metadata={"unit": "s"})
    """Seconds for a command and the fetch of its source. A call has no limit of its own. GitHub's for a job."""
