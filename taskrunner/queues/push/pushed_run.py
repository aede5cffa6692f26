"""One run that a peer dispatched: its claim, its answer, and its log on the way back."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from contextlib import suppress

from taskrunner.errors import ClaimLost, Conflict, Unavailable
from taskrunner.interfaces.push import Peer
from taskrunner.interfaces.queue import Applied
from taskrunner.model import Claim, Resolution

log = logging.getLogger(__name__)

ANSWER_LIMIT = 30.0
"""Seconds that a peer may take to accept an answer. A repeated call waits for the same answer."""

FLUSH_LIMIT = 5.0
"""Seconds for the rest of the log to reach the peer before its answer, which ends the stream."""

MAX_LOG_WAITING = 1 << 20
"""Bytes of log that wait for a slow peer. More is dropped: the whole log is kept elsewhere."""

MAX_RUN_IDS = 10_000
"""Task ids whose last run id is remembered."""


class PushedRun:
    """A run that was accepted from a peer. `lost` says why it is no longer ours; empty while it is."""

    def __init__(self, claim: Claim, peer: Peer) -> None:
        self.claim, self.peer = claim, peer
        self.lost = ""
        self.log = LogFeed(peer)
        self._resolution: Resolution | None = None
        self._answering: asyncio.Task[None] | None = None
        self._refusing: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        """Whether it was neither answered nor refused, and its peer is connected."""
        return not (self._answering or self._refusing or self.lost == "disconnected")

    def check(self) -> None:
        """Raises: ClaimLost."""
        if self.lost or not self.open:
            raise ClaimLost(self.lost or "resolved")

    async def answer(self, resolution: Resolution) -> Applied:
        """Answers the peer once, however often it is called. A cancelled run is answered too: its peer waits.

        Raises: ClaimLost, Conflict, Unavailable.
        """
        if self._answering is None:
            if not self.open:
                raise ClaimLost(self.lost or "resolved")
            self._resolution = resolution
            self._answering = asyncio.create_task(self._answer(resolution))
            await self._finish(self._answering)
            return "applied"
        if self._resolution is None or not self._resolution.same_ending(resolution):
            raise Conflict(f"the run was answered as {self._resolution} before, and not as {resolution}")
        await self._finish(self._answering)
        return "already-so"

    async def refuse(self, reason: str) -> None:
        """Hands the run back once, however often it is called.

        Raises: ClaimLost, Unavailable.
        """
        if self._refusing is None:
            self.check()
            self._refusing = asyncio.create_task(self.peer.refuse(reason))
        await self._finish(self._refusing)

    async def _answer(self, resolution: Resolution) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_LIMIT):
                await self.log.flush()
        await self.peer.answer(resolution)

    async def _finish(self, call: asyncio.Task[None]) -> None:
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                await asyncio.shield(call)  # a caller that is cancelled must not cut an answer in two
        except TimeoutError:
            raise Unavailable(f"the peer of {self.claim.run} does not take its answer") from None


class LogFeed:
    """Sends a log to a peer in its order, beside the run: `add` never waits."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._unsent: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._sending: asyncio.Task[None] | None = None

    def add(self, offset: int, chunk: bytes) -> None:
        if self._size + len(chunk) > MAX_LOG_WAITING:
            return
        self._unsent.append((offset, chunk))
        self._size += len(chunk)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    async def flush(self) -> None:
        if self._sending:
            await asyncio.shield(self._sending)

    async def _send(self) -> None:
        while self._unsent:
            offset, chunk = self._unsent.popleft()
            self._size -= len(chunk)
            try:
                await self._peer.send_log(offset, chunk)
            except (ClaimLost, Unavailable):
                pass
            except Exception as error:  # noqa: BLE001  a log that cannot be sent must not cost the run its answer
                log.warning("a peer does not get its log: %s", type(error).__name__)


class RunIds:
    """The next run id of each task. The oldest are forgotten, and begin again at 0."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, int] = OrderedDict()

    def next(self, task_id: str) -> int:
        run_id = self._last.pop(task_id, -1) + 1
        self._last[task_id] = run_id
        if len(self._last) > MAX_RUN_IDS:
            self._last.popitem(last=False)
        return run_id
