"""Timers: named timers and background tasks that send events to a run, each ended when it is not needed.

Most timers are stopped before their time: a timer of the loop costs a few µs, a coroutine that sleeps fifty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import attrs

CLOCK_CHECK = 60.0
"""Seconds between two checks of the system clock, which may be set during a wait for a time of day."""

STOP_LIMIT = 10.0
"""Seconds for a task to end once it is cancelled. A plugin that ignores the cancellation must not hold up the run."""


@attrs.define
class Timers:
    """The timers and background tasks of one run. Used from one event loop."""

    _tasks: dict[str, asyncio.Task[None]] = attrs.field(factory=dict)
    _timers: dict[str, asyncio.TimerHandle] = attrs.field(factory=dict)
    _left: set[asyncio.Task[None]] = attrs.field(factory=set)
    """Tasks that did not end when they were cancelled."""

    def after(self, seconds: float, name: str, call: Callable[[], None]) -> None:
        """Calls `call` once after these seconds, unless it is stopped before."""
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, call)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine beside the run."""
        self._tasks[name] = asyncio.create_task(work, name=f"the {name} of a run")

    async def stop(self, *names: str) -> None:
        """Ends these timers and tasks, or all, and waits for their end. A task may stop itself."""
        for name in names or (*self._timers, *self._tasks):
            if timer := self._timers.pop(name, None):
                timer.cancel()
            task = self._tasks.pop(name, None)
            if task and task is not asyncio.current_task():
                await self._end(task)

    def hasten(self, name: str, call: Callable[[], None]) -> None:
        """Calls `call` now, instead of the timer or the task of this name. Without one of these, does nothing."""
        timer, task = self._timers.pop(name, None), self._tasks.pop(name, None)
        if timer:
            timer.cancel()
        if task:
            task.cancel()
            self._leave(task)
        if timer or task:
            call()

    async def _end(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait([task], timeout=STOP_LIMIT)
        if not task.done():
            self._leave(task)

    def _leave(self, task: asyncio.Task[None]) -> None:
        self._left.add(task)
        task.add_done_callback(self._left.discard)


async def at(time: datetime, call: Callable[[], None]) -> None:
    """Calls `call` at a time of day (aware). Follows the system clock, also when that is set meanwhile."""
    while (left := (time - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110  no event reports a set clock
        await asyncio.sleep(min(left, CLOCK_CHECK))
    call()
