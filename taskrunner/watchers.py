"""Watchers: small coroutines beside a run that tell it events, each by a name, each ended when it is not needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import attrs

CLOCK_CHECK = 60.0
"""Seconds between two looks at the clock on the wall, which may be set while somebody waits for a time of day."""


@attrs.define
class Watchers:
    """The watchers of one run. Used from one event loop."""

    _tasks: dict[str, asyncio.Task[None]] = attrs.field(factory=dict)

    def start(self, name: str, watcher: Coroutine[Any, Any, None]) -> None:
        self._tasks[name] = asyncio.create_task(watcher, name=f"watching the {name}")

    async def stop(self, *names: str) -> None:
        """Ends these, or all, and waits until they have ended. A watcher may be the one that asks."""
        for name in names or tuple(self._tasks):
            watcher = self._tasks.pop(name, None)
            if watcher and watcher is not asyncio.current_task():
                watcher.cancel()
                await asyncio.wait([watcher])

    async def finish(self, name: str, *, within: float) -> None:
        """Lets one come to its own end, for so many seconds; then it is stopped."""
        if watcher := self._tasks.get(name):
            await asyncio.wait([watcher], timeout=within)
            await self.stop(name)


async def after(seconds: float, tell: Callable[[], None]) -> None:
    await asyncio.sleep(seconds)
    tell()


async def at(time: datetime, tell: Callable[[], None]) -> None:
    """`time` is aware. Follows the clock on the wall, also when it is set meanwhile."""
    while (left := (time - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110  no event tells that time passed
        await asyncio.sleep(min(left, CLOCK_CHECK))
    tell()
