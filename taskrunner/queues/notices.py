"""Notices of a queue, for every subscriber in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from weakref import WeakSet

from taskrunner.model import Notice


class NoticeBroadcast:
    """Delivers each notice to all current subscribers. A notice without a subscriber is lost, as notices may be."""

    def __init__(self) -> None:
        self._subscribers: WeakSet[asyncio.Queue[Notice]] = WeakSet()
        """A subscription ends when its iterator is no longer referenced."""

    def publish(self, notice: Notice) -> None:
        for subscriber in self._subscribers:
            subscriber.put_nowait(notice)

    def subscribe(self) -> AsyncIterator[Notice]:
        """Notices from this call on, whenever the iteration begins."""
        inbox: asyncio.Queue[Notice] = asyncio.Queue()
        self._subscribers.add(inbox)
        return _each(inbox)


async def _each(inbox: asyncio.Queue[Notice]) -> AsyncIterator[Notice]:
    while True:
        yield await inbox.get()
