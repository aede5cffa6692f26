"""Waiting for news inside one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from weakref import WeakSet

from taskrunner.model import Notice


class Bell:
    """Wakes everybody who waits at the time that it rings. Used from one event loop.

    `listen` comes first, then the look at what one waits for, then `wait`: a ring in between is not lost.
    """

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def listen(self) -> asyncio.Event:
        """What the next ring sets."""
        return self._rung

    def ring(self) -> None:
        rung, self._rung = self._rung, asyncio.Event()
        rung.set()


async def wait_for_ring(rung: asyncio.Event, limit: float) -> None:
    """Returns at the ring, or after `limit` seconds."""
    try:
        async with asyncio.timeout(limit):
            await rung.wait()
    except TimeoutError:
        pass


class NoticeBoard:
    """Notices for everybody who listens now. One that nobody listens for is lost, as notices may be."""

    def __init__(self) -> None:
        self._listeners: WeakSet[asyncio.Queue[Notice]] = WeakSet()  # who forgets his iterator has stopped listening

    def post(self, notice: Notice) -> None:
        for listener in self._listeners:
            listener.put_nowait(notice)

    def listen(self) -> AsyncIterator[Notice]:
        """Notices from now on, whenever the iteration begins."""
        inbox: asyncio.Queue[Notice] = asyncio.Queue()
        self._listeners.add(inbox)
        return _each(inbox)


async def _each(inbox: asyncio.Queue[Notice]) -> AsyncIterator[Notice]:
    while True:
        yield await inbox.get()
