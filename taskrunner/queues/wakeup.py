"""Waking coroutines of one process. Processes are woken through `sqlite.wakeup_sockets`."""

from __future__ import annotations

import asyncio


class Wakeup:
    """Wakes every coroutine that waits at that moment. Used from one event loop.

    A waiter calls `event` first, then reads the state that it waits for, then waits: a wake-up in between is not lost.
    """

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def event(self) -> asyncio.Event:
        """The event that the next `wake` sets."""
        return self._next

    def wake(self) -> None:
        event, self._next = self._next, asyncio.Event()
        event.set()


async def wait_for(event: asyncio.Event, limit: float) -> None:
    """Returns when the event is set, or after `limit` seconds."""
    try:
        async with asyncio.timeout(limit):
            await event.wait()
    except TimeoutError:
        pass
