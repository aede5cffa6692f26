"""Whether Docker answers, asked again and again for as long as its client is open.

A daemon that hangs closes no connection: whoever waits for the end of a container would wait for ever. After a time
without an answer its connections are closed here, so that everybody who waits gets the same as after a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from taskrunner.errors import Unavailable

INTERVAL = 5.0
"""Seconds between two pings."""
LOST_AFTER = 60.0
"""Seconds without an answer until everything that runs is lost. A daemon under load pauses for some seconds."""
REST_TIME = 60.0
"""Seconds without new work after a call that had no answer. A daemon that hangs in one place may still answer pings."""

Close = Callable[[], None]


class DaemonWatch:
    """The watch of one daemon. Used from one event loop; what it closes must not block."""

    def __init__(self, ping: Callable[[], Awaitable[object]]) -> None:
        """`ping` raises Unavailable, and has a limit of its own."""
        self._ping = ping
        self._open = dict[object, Close]()
        self._early = asyncio.Event()
        self._why = ""
        self._silent_since = self._rests_until = 0.0
        self._watching = asyncio.create_task(self._watch(), name="the watch of Docker")

    @property
    def problem(self) -> str:
        """Why no new work should be given to Docker now; empty when it is well."""
        rests = asyncio.get_running_loop().time() < self._rests_until
        return self._why if rests or self._silent_since else ""

    def note_silence(self, why: str) -> None:
        """A call had no answer within its limit, though Docker answers pings."""
        if self._silent_since:
            return
        self._why, self._rests_until = why, asyncio.get_running_loop().time() + REST_TIME

    def suspect(self, why: str) -> None:
        """A connection has failed. Docker counts as lost until the next ping, which follows at once: a worker that went
        on would lose a run after the other."""
        self._why = why
        self._silent_since = self._silent_since or asyncio.get_running_loop().time()
        self._early.set()

    def add(self, close: Close) -> Close:
        """Calls `close` when Docker is lost. Returns what ends that."""
        key = object()
        self._open[key] = close

        def remove() -> None:
            self._open.pop(key, None)

        return remove

    @contextmanager
    def closing_when_lost(self, close: Close) -> Iterator[None]:
        """The same within a context."""
        remove = self.add(close)
        try:
            yield
        finally:
            remove()

    def end(self) -> None:
        """The client is closed."""
        self._watching.cancel()

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._early.wait()
            self._early.clear()
            await self._check()

    async def _check(self) -> None:
        try:
            await self._ping()
        except Unavailable as error:
            self._failed(str(error))
        else:
            self._silent_since = 0.0

    def _failed(self, why: str) -> None:
        now = asyncio.get_running_loop().time()
        self._why = why
        self._silent_since = self._silent_since or now
        if now - self._silent_since >= LOST_AFTER:
            for close in tuple(self._open.values()):
                close()
