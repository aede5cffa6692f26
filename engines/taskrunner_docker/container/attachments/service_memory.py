"""Whether a service ran out of memory."""

from __future__ import annotations

import time
from contextlib import suppress

import attrs

from taskrunner.errors import Unavailable
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.container.memory import had_oom_kill, out_of_memory, out_of_memory_text

_SETTING = "the service's `resources.memory`"


@attrs.define
class ServiceMemory:
    """The memory of one service, from its start."""

    client: DockerClient
    container: str
    service: str
    """Its name in the task."""
    limit: int = 0
    """Bytes; 0: it has none."""
    story: str = ""
    """What happened, when the kernel has killed any process of it; empty before that is known."""
    _began: float = attrs.field(factory=time.time)

    async def look_at_its_end(self) -> str:
        """Returns the story, also one that was known before: a service whose child was killed is ended by the worker,
        and Docker does not say then that it ran out of memory. Raises nothing: the end is told without it."""
        with suppress(Unavailable):
            found = await out_of_memory(self.client, self.container, who=self._who, setting=_SETTING)
            self.story = found or self.story
        return self.story

    async def look_while_it_runs(self) -> str:
        """The same of a service that goes on, since only a child of it was killed: the task may have failed by that.
        Without a limit, the daemon notices nothing."""
        if self.limit and await had_oom_kill(self.client, self.container, self._began):
            self.story = out_of_memory_text(self.limit, self._who, _SETTING)
        return self.story

    @property
    def _who(self) -> str:
        return f"the service {self.service}"
