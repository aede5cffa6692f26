"""Whether a git server gets on: told by the thread of the fetch, asked by the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_LEAST = 1024
"""Bytes that count as progress: a server that sends single bytes would keep a slot of the worker for hours."""


class Watch:
    """Over all conversations of one fetch. Between them the server owes nothing."""

    def __init__(self, limit: float) -> None:
        """`limit`: seconds without progress."""
        self.limit = limit
        self.stalled = False
        """Whether the limit has passed."""
        self._since: float | None = None
        self._size = 0

    def begin(self) -> None:
        """A conversation begins."""
        self._since, self._size = time.monotonic(), 0

    def moved(self, size: int) -> None:
        """Bytes have come that are needed."""
        self._size += size
        if self._size >= _LEAST:
            self.begin()

    def end(self) -> None:
        """The conversation is over."""
        self._since = None

    async def interrupt_when_stalled(self, interrupt: Callable[[], None]) -> None:
        """Returns when the limit has passed, after it called `interrupt`."""
        while (left := self._left()) > 0:  # noqa: ASYNC110  it is the passing of time that is waited for
            await asyncio.sleep(left)
        self.stalled = True
        interrupt()

    def _left(self) -> float:
        since = self._since
        return self.limit if since is None else since + self.limit - time.monotonic()
