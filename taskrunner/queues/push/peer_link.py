"""The link to the peer of one run, while peers come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from taskrunner.errors import ClaimLost
from taskrunner.interfaces.push import Peer
from taskrunner.model import Move, Resolution

Send = Callable[[Peer], Awaitable[None]]
State = tuple[Move, Resolution | None]

CANCEL_LIMIT = 1.0
"""Seconds for a call to a peer to end once it is cancelled. A call that ignores that is left behind."""


class PeerLink:
    """Calls the present peer, one call at a time. A peer that takes over is told the state of the run before all
    else."""

    def __init__(self, peer: Peer) -> None:
        self.peer: Peer | None = peer
        self.lost: ClaimLost | None = None
        """Why there will be no peer any more."""
        self.state: State | None = None
        """The last move, and the ending that belongs to it. Each peer is told a state before whatever comes after
        it."""
        self._told: tuple[Peer, State | None] = peer, None
        self._lock = asyncio.Lock()
        self._calling: asyncio.Future[None] | None = None
        self._changed = asyncio.Event()

    @property
    def carries_logs(self) -> bool:
        """Whether the last peer takes the log."""
        return type(self.peer or self._told[0]).send_log is not Peer.send_log

    def change(self, peer: Peer | None) -> None:
        """Another peer takes over, or none for a while. A call to the one before is cancelled."""
        self.peer = peer
        if self._calling:
            self._calling.cancel()
        self._changed.set()

    def end(self, lost: ClaimLost) -> None:
        """No peer comes any more: every call raises this."""
        self.lost = lost
        self.change(None)

    async def call(self, send: Send, *, wait: bool = False) -> bool:
        """Calls the present peer; when another one takes over meanwhile, calls that one. While there is none, waits for
        the next one with `wait`, and else returns False.

        Raises: ClaimLost, and the errors of the peer.
        """
        async with self._lock:
            while (peer := await self._present(wait=wait)) is not None:
                if await self._tell_state(peer) and await self._send(peer, send):
                    return True
            return False

    async def _tell_state(self, peer: Peer) -> bool:
        told_peer, told_state = self._told
        self._told = peer, self.state  # before the call: a peer that fails to take a state is still answered
        if self.state is None or (told_peer is peer and told_state is self.state):
            return True
        move, ending = self.state
        return await self._send(peer, lambda peer: peer.moved(move, ending))

    async def _present(self, *, wait: bool) -> Peer | None:
        while self.peer is None and wait and not self.lost:
            self._changed.clear()
            await self._changed.wait()
        if self.lost:
            raise ClaimLost(self.lost.why, self.lost.message)
        return self.peer

    async def _send(self, peer: Peer, send: Send) -> bool:
        """Whether the peer has taken it. False: another one has taken over, or this one has gone and will be
        replaced."""
        call = self._calling = asyncio.ensure_future(send(peer))
        call.add_done_callback(_retrieve)
        try:
            await asyncio.wait([call])
        finally:
            self._calling = None
            await _end(call)
        if self.peer is not peer:
            return False
        call.result()
        return True


async def _end(call: asyncio.Future[None]) -> None:
    if not call.done():
        call.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([call], timeout=CANCEL_LIMIT)


def _retrieve(call: asyncio.Future[None]) -> None:
    """The error of a call that was left behind has no other reader."""
    if not call.cancelled():
        call.exception()
