"""The feed of a run: what its queue is told while it goes on, for a peer that waits or a reader of the log.

Moves and log in their order: a move comes after all that was written before it. The log is read from the run's file, at
the pace of the queue, so a slow peer holds up neither the run nor more memory than one piece. The feed of a run that
does nothing does nothing either: whatever is new wakes it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import attrs

from taskrunner import limits
from taskrunner.blocking import OverLimit
from taskrunner.bounded import BoundedCalls
from taskrunner.errors import ClaimLost, Unavailable
from taskrunner.interfaces.log import LogOrigin, index_of
from taskrunner.interfaces.queue import Queue
from taskrunner.log.log_index import LogIndex
from taskrunner.log.reader import read
from taskrunner.log.spool import Spool
from taskrunner.model import Claim, Move, Progress, Resolution

LONGEST = 600.0
"""Seconds for all that is left of a log at the end of its run, also when the peer takes it bit by bit."""

MARK_LIMIT = 5.0
"""Seconds for the mark that takes the place of what a peer has not got."""

PIECE = 1 << 16
"""Bytes of log in one call. A peer that takes 2 kB/s is not given up."""

LONG_PIECE, QUICK = 1 << 18, 0.1
"""Bytes in one call after one that took less than this many seconds: to a peer that is fast, the calls themselves cost
more than what they carry."""

LOOK_AGAIN = 1.0
"""Seconds between two looks at the time that is left, which may get shorter."""

GATHER = 0.05
"""Seconds between two looks at what is new: a run that prints line by line costs twenty looks a second at most. What
comes after a pause is sent at once."""

RETRY = 1.0
"""Seconds between two tries when the queue does not answer."""

MOST_STEPS = 100
"""Steps whose progress waits to be told. The names come from an engine, which could make up any number of them."""


def is_told(queue: Queue) -> bool:
    """Whether the queue wants to know anything about a run that goes on."""
    own, default = type(queue), Queue
    return not (
        own.append_log is default.append_log and own.moved is default.moved and own.progress is default.progress
    )


@attrs.define(eq=False)
class RunFeed:
    """One run's feed. `run` is its work, beside the run's own; the other methods are called by the run."""

    queue: Queue
    claim: Callable[[], Claim]
    log: Spool
    calls: BoundedCalls
    _offset: int = 0
    _moves: deque[tuple[int, Move, Resolution | None]] = attrs.field(factory=deque)
    """With the size of the log at that time."""
    _progress: dict[str, Progress] = attrs.field(factory=dict)
    _last: float = attrs.field(init=False, default=0.0)
    """When the queue took something last, on the loop's clock."""
    ends: float = float("inf")
    """When the queue has no more time to take anything, on the loop's clock: the machine stops."""
    _piece: int = PIECE
    """Bytes in the next call."""
    _work: asyncio.Task[None] | None = None
    _index: LogIndex = attrs.field(init=False, factory=LogIndex)
    _missing: str = attrs.field(init=False, default="")
    _wake: asyncio.Event = attrs.field(init=False, factory=asyncio.Event)
    _loop: asyncio.AbstractEventLoop = attrs.field(init=False, factory=asyncio.get_running_loop)
    _waking: bool = attrs.field(init=False, default=False)
    """Whether it will be woken, for something that is new since the last look."""
    _looked: float = attrs.field(init=False, default=0.0)
    """When the last look began, on the loop's clock."""

    def start(self) -> None:
        self.log.on_growth = self._wake_soon
        self._wake.set()
        self._work = asyncio.create_task(self._run(), name=f"the feed of {self.log.path}")

    def moved(self, move: Move, ending: Resolution | None) -> None:
        self._moves.append((self.log.size, move, ending))
        self._wake.set()

    def progressed(self, progress: Progress) -> None:
        """From any thread."""
        if progress.step in self._progress or len(self._progress) < MOST_STEPS:
            self._progress[progress.step] = progress
            self._wake_soon()

    async def finish(self) -> str:
        """Waits until the queue has taken everything, up to the end of the log, which is finished. A queue that takes
        nothing for `limits.PEER_PATIENCE` seconds is given up, with a mark in place of what it has not taken. Returns
        what that is; empty when there is nothing, and when it is called again.
        """
        if self._work:
            await self._finish(self._work)
        missing, self._missing = self._missing, ""
        return missing

    async def _finish(self, work: asyncio.Task[None]) -> None:
        begin = self._last = _now()
        self._wake.set()
        while not work.done() and (left := self._end_of(begin) - _now()) > 0:
            await asyncio.wait([work], timeout=min(left, LOOK_AGAIN))
        if not work.done():
            await self.stop()
            in_time = "before the machine stopped" if _now() >= self.ends else f"within {limits.PEER_PATIENCE:g} s"
            await self._mark(f"they were not taken {in_time}")

    def _end_of(self, begin: float) -> float:
        """When a queue is given up that has the end of the log since `begin`."""
        return min(begin + LONGEST, self._last + limits.PEER_PATIENCE, self.ends)

    async def stop(self) -> None:
        """Ends the feed where it is."""
        if self._work:
            work, self._work = self._work, None
            work.cancel()
            await asyncio.wait([work], timeout=MARK_LIMIT)

    # ---- the work ---------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._feed()
        except ClaimLost:
            self._missing = f"its peer is gone, and has {self._offset:,} bytes of the log"
        except Exception as error:  # noqa: BLE001  a reader that fails must not fail a task
            self.calls.warn(f"what {self.claim().run} does is not passed on: {type(error).__name__}: {error}")
            await self._mark(f"{type(error).__name__}")

    async def _feed(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._waking, self._looked = False, _now()
            ended = self.log.finished  # asked before the reading, so that all that was written by then is read
            await self._send_what_there_is()
            if ended and not self._moves:
                return

    def _wake_soon(self) -> None:
        """From any thread."""
        if not self._waking:
            self._waking = True
            with suppress(RuntimeError):  # the loop is closed: nobody is told any more
                self._loop.call_soon_threadsafe(self._wake_in_time)

    def _wake_in_time(self) -> None:
        self._loop.call_at(self._looked + GATHER, self._wake.set)

    async def _send_what_there_is(self) -> None:
        async for piece in read(self.log.path, self._offset, recent=True):
            await self._read_index()  # after the piece: a mark is written before its bytes
            for mark, part in list(self._index.split(piece, self._offset)):
                await self._send_log(part, LogOrigin(mark.stream, mark.time) if mark.stream and mark.time else None)
        await self._send_moves()
        await self._send_progress()

    async def _read_index(self) -> None:
        async for marks in read(index_of(self.log.path), self._index.size, recent=True):
            self._index.feed(marks)

    async def _send_log(self, piece: bytes, origin: LogOrigin | None) -> None:
        """Sends a piece, cut where a move has happened. Progress comes before it: nothing follows the end of a log."""
        while piece:
            await self._send_moves()
            await self._send_progress()
            until = min(self._piece, self._moves[0][0] - self._offset if self._moves else self._piece)
            part, piece = piece[:until], piece[until:]
            begin = _now()
            await self._send(self.queue.append_log, self._offset, part, origin)
            self._piece = LONG_PIECE if _now() - begin < QUICK else PIECE
            self._offset += len(part)

    async def _send_moves(self) -> None:
        """The moves that happened up to this place of the log."""
        while self._moves and self._moves[0][0] <= self._offset:
            _, move, ending = self._moves[0]
            await self._send(self.queue.moved, move, ending)
            self._moves.popleft()

    async def _send_progress(self) -> None:
        for step in list(self._progress):
            await self._send(self.queue.progress, self._progress.pop(step))

    async def _send(self, call: Callable[..., Coroutine[Any, Any, None]], *what: object) -> None:
        """Each try has the claim as it is then: that of an earlier one may have ended."""
        while True:
            try:
                await call(self.claim(), *what)
            except Unavailable as unavailable:
                await asyncio.sleep(unavailable.retry_after or RETRY)
            else:
                self._last = _now()
                return

    async def _mark(self, why: str) -> None:
        """Sends a line in place of the rest of the log."""
        left = self.log.size - self._offset
        self._missing = f"its peer has not got the last {left:,} bytes of the log: {why}"
        mark = f"\n[taskrunner] {left:,} bytes of the log are missing here: {why}\n".encode()
        sending = self.queue.append_log(self.claim(), self._offset, mark, LogOrigin("worker", datetime.now(UTC)))
        try:
            await self.calls.call(
                sending, limit=min(MARK_LIMIT, limits.PEER_PATIENCE), doing="marking the end of a log"
            )
        except (ClaimLost, Unavailable, OverLimit):
            return  # the journal has it
        except Exception as error:  # noqa: BLE001  as above
            self.calls.warn(f"{type(error).__name__}: {error}")


def _now() -> float:
    return asyncio.get_running_loop().time()
