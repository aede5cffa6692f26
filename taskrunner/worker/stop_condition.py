"""Stop condition of a worker: a number of runs, a time without a run, or a function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

CLAIM_WAIT = 20.0
"""Seconds that one claim waits for a task: a queue's usual long poll."""

SHORT_WAIT = 0.5
"""Seconds that a claim waits when the worker is to stop by itself once its runs have ended."""


@attrs.frozen
class StopCondition:
    """By default a worker never stops by itself."""

    tasks: int | None = None
    """Number of runs after which it stops."""
    idle: float | None = None
    """Seconds without a run after which it stops."""
    over: Callable[[], Awaitable[str]] | None = None
    """Returns why the worker is done (for instance, the queue is empty), or "". Called while nothing runs."""

    def wanted(self, free: int, taken: int) -> int:
        """Number of runs to ask for, with `free` slots and after `taken` runs."""
        return free if self.tasks is None else min(free, self.tasks - taken)

    def claim_wait(self, idle_for: float, *, busy: bool, dry: bool) -> float:
        """Seconds that a claim waits for a task: short enough that the worker stops in time. `dry`: the last claim
        returned nothing, so that another one without waiting would spin."""
        if self.over:
            return SHORT_WAIT if busy or dry else 0.0
        if self.idle is not None:
            return min(CLAIM_WAIT, SHORT_WAIT if busy else max(0.0, self.idle - idle_for))
        return CLAIM_WAIT

    async def done(self, taken: int, idle_for: float, *, busy: bool) -> str:
        """Why the worker is done; empty when it is not."""
        if self.tasks is not None and taken >= self.tasks:
            return f"{taken} task{'s' * (taken > 1)} taken, as was asked"
        if busy:
            return ""
        if self.idle is not None and idle_for >= self.idle:
            return f"nothing to do for {self.idle:g} s"
        return await self.over() if self.over else ""
