"""QueueNotices: what a queue says unasked, passed on for as long as the worker lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs

from taskrunner.errors import Unavailable
from taskrunner.interfaces.queue import Queue
from taskrunner.model import Notice

QUEUE_RETRY = 5.0
"""Seconds between two calls to a queue that does not answer."""


@attrs.frozen
class QueueNotices:
    """The notices of one queue. A notice is only a hint: a reclaim reports the same."""

    queue: Queue
    handle: Callable[[Notice], None]
    warn: Callable[[str], None]

    async def listen(self) -> None:
        """Subscribes again whenever a subscription has ended: at once, if it has lasted. Ends when it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                async for notice in await self.queue.notices():
                    self.handle(notice)
                pause = max(0.0, began + QUEUE_RETRY - loop.time())
            except Unavailable as unavailable:
                self.warn(f"the queue gives no notices: {unavailable}")
                pause = unavailable.retry_after or QUEUE_RETRY
            await asyncio.sleep(pause)
