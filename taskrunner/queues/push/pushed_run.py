"""One run that a peer dispatched: its claim, what its peer is told, and its answer."""

from __future__ import annotations

import asyncio
import logging

from taskrunner import limits
from taskrunner.blocking import OverLimit
from taskrunner.bounded import BoundedCalls
from taskrunner.errors import ClaimLost, Conflict, Unavailable
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.log import LogOrigin
from taskrunner.interfaces.push import Peer
from taskrunner.interfaces.queue import Applied
from taskrunner.model import Claim, Move, Progress, Resolution
from taskrunner.queues.push.peer_link import PeerLink, Send

log = logging.getLogger(__name__)

RETRY = 1.0
"""Seconds between two tries to send an answer."""


class PushedRun:
    """A run that was taken from a peer. `lost` says why it is no longer ours; None while it is."""

    def __init__(self, claim: Claim, peer: Peer) -> None:
        self.claim = claim
        self.lost: ClaimLost | None = None
        self.resolution: Resolution | None = None
        """What the peer was answered, or will be told when it comes."""
        self._link = PeerLink(peer)
        self._calls = BoundedCalls(log.warning)
        self._answering: asyncio.Task[Applied] | None = None
        self._refusing: asyncio.Task[bool] | None = None

    @property
    def open(self) -> bool:
        """Whether it was neither answered nor refused, and its peer is connected or will be replaced."""
        return not (self._answering or self._refusing or self._link.lost)

    @property
    def over(self) -> bool:
        """Whether it has its answer, taken or not."""
        return self._answering is not None

    def check(self) -> None:
        """Raises: ClaimLost."""
        if self.lost or not self.open:
            raise self._why_lost()

    def _why_lost(self) -> ClaimLost:
        if self.lost:
            return ClaimLost(self.lost.why, self.lost.message)
        return ClaimLost("resolved", "its peer was answered or refused")

    # ---- peers ------------------------------------------------------------------------------------------

    def cancel(self, why: str) -> None:
        self.lost = self.lost or ClaimLost("canceled", why)

    def disconnect(self, why: str) -> None:
        self.lost = ClaimLost("disconnected", why)
        self._link.end(self.lost)

    def detach(self) -> None:
        self._link.change(None)

    def attach(self, peer: Peer) -> None:
        self._link.change(peer)

    async def inform(self) -> None:
        """Tells a peer that has taken over the state of the run, and its answer if it is over."""
        resolution = self.resolution if self.over else None
        await self._deliver(_nothing if resolution is None else lambda peer: peer.answer(resolution))

    # ---- what a peer is told ----------------------------------------------------------------------------

    async def moved(self, move: Move, ending: Resolution | None) -> None:
        self._link.state = move, ending
        await self._link.call(_nothing)  # each call tells the state first

    async def progress(self, progress: Progress) -> None:
        await self._link.call(lambda peer: peer.progress(progress))

    async def send_log(self, offset: int, chunk: bytes, origin: LogOrigin | None) -> None:
        if self._link.carries_logs:
            await self._link.call(lambda peer: peer.send_log(offset, chunk, origin), wait=True)

    def artifacts(self) -> ArtifactStore | None:
        return self._link.peer.artifacts() if self._link.peer else None

    async def answer(self, resolution: Resolution) -> Applied:
        """Answers the peer once, however often it is called. A cancelled run is answered too: its peer waits. Without a
        peer, the next one gets the answer.

        Raises: ClaimLost, Conflict.
        """
        if self._answering is None:
            if not self.open:
                raise self._why_lost()
            self.resolution = resolution
            self._answering = asyncio.create_task(self._answer(resolution))
            return await asyncio.shield(self._answering)  # a caller that is cancelled must not cut an answer in two
        if self.resolution is None or not self.resolution.same_ending(resolution):
            raise Conflict(f"the run was answered as {self.resolution} before, and not as {resolution}")
        outcome = await asyncio.shield(self._answering)
        return "already-so" if outcome == "applied" else outcome

    async def refuse(self, reason: str, message: str) -> None:
        """Hands the run back once, however often it is called. A peer that does not take it is left to itself.

        Raises: ClaimLost.
        """
        if self._refusing is None:
            self.check()
            self._refusing = asyncio.create_task(self._deliver(lambda peer: peer.refuse(reason, message)))
        await asyncio.shield(self._refusing)

    async def _answer(self, resolution: Resolution) -> Applied:
        return "applied" if await self._deliver(lambda peer: peer.answer(resolution)) else "unanswered"

    async def _deliver(self, send: Send) -> bool:
        """Whether the peer has taken it, or there is none that could. Raises: ClaimLost."""
        try:
            await self._calls.call(
                self._repeat(send), limit=limits.PEER_PATIENCE, doing=f"answering the peer of {self.claim.run}"
            )
        except ClaimLost:
            raise
        except OverLimit as error:
            log.warning("%s: it was given up", error)
        except Exception as error:  # noqa: BLE001  a bug of a source must not change how a run ended
            log.warning("the peer of %s cannot be answered: %s: %s", self.claim.run, type(error).__name__, error)
        else:
            return True
        return False

    async def _repeat(self, send: Send) -> None:
        while True:
            try:
                await self._link.call(send)
            except Unavailable as unavailable:
                await asyncio.sleep(unavailable.retry_after or RETRY)
            else:
                return


async def _nothing(_: Peer) -> None:
    return
