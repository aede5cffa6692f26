"""Timers: what happens beside a run and tells it events, each by a name, each ended when it is not needed.

Most only wait for a time that never comes: a timer of the loop costs a few µs, a coroutine that sleeps fifty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import attrs

CLOCK_CHECK = 60.0
"""Seconds between two looks at the clock on the wall, which may be set while somebody waits for a time of day."""


@attrs.define
class Timers:
    """The watchers of one run. Used from one event loop."""

    _tasks: dict[str, asyncio.Task[None]] = attrs.field(factory=dict)
    _timers: dict[str, asyncio.TimerHandle] = attrs.field(factory=dict)

    def after(self, seconds: float, name: str, call: Callable[[], None]) -> None:
        """Calls it once, unless it is stopped before."""
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, call)

    def start(self, name: str, watcher: Coroutine[Any, Any, None]) -> None:
        self._tasks[name] = asyncio.create_task(watcher, name=f"watching the {name}")

    async def stop(self, *names: str) -> None:
        """Ends these, or all, and waits until they have ended. A watcher may be the one that asks."""
        for name in names or (*self._timers, *self._tasks):
            if timer := self._timers.pop(name, None):
                timer.cancel()
            watcher = self._tasks.pop(name, None)
            if watcher and watcher is not asyncio.current_task():
                watcher.cancel()
                await asyncio.wait([watcher])

    async def finish(self, name: str, *, within: float) -> None:
        """Lets one come to its own end, for so many seconds; then it is stopped."""
        if watcher := self._tasks.get(name):
            await asyncio.wait([watcher], timeout=within)
            await self.stop(name)


async def at(time: datetime, tell: Callable[[], None]) -> None:
    """`time` is aware. Follows the clock on the wall, also when it is set meanwhile."""
    while (left := (time - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110  no event tells that time passed
        await asyncio.sleep(min(left, CLOCK_CHECK))
    tell()
