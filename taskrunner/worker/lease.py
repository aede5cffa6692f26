"""Keeping a claim: reclaimed in time, reported once, and known to be lost the moment it may be.

Only `reclaim` and `resolve` decide who owns a run. A worker that could get neither confirmed until its lease ended, by
its own clock, has lost the run, whatever the network says later: somebody else may be running it by now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs

from taskrunner.errors import ClaimLost, Conflict, Unavailable
from taskrunner.interfaces.queue import Queue
from taskrunner.model import Claim, Resolution

T = TypeVar("T")

FIRST_RECLAIM = 60.0
"""Seconds after which a claim is renewed for the first time at the latest. Two thirds of all cancelled tasks are
cancelled in their first minutes, and most queues tell of it at a reclaim."""

RETRY = 1.0
"""Seconds between two tries when the queue does not answer."""


@attrs.define(eq=False)
class KeptClaim:
    """One claim, renewed by whoever runs `keep`, until it is reported or lost."""

    queue: Queue
    claim: Claim
    lease: float
    """Seconds asked for at each reclaim."""
    warn: Callable[[str], None] = lambda _: None

    @property
    def time_left(self) -> float:
        """Seconds until it is lost, if nothing is confirmed."""
        if self.claim.valid_until is None:
            return float("inf")
        return self.claim.valid_until - asyncio.get_running_loop().time()

    @property
    def pause(self) -> float:
        """Seconds until it should be renewed."""
        return max(0.0, min(FIRST_RECLAIM, self.lease / 3, self.time_left / 3))

    async def keep(self) -> None:
        """Reclaims, now and for as long as it is let. Raises: ClaimLost."""
        while True:
            self.claim = await self._insist(lambda: self.queue.reclaim(self.claim, lease=self.lease))
            await asyncio.sleep(self.pause)

    async def resolve(self, resolution: Resolution) -> None:
        """Reports the resolution. Raises: ClaimLost."""
        try:
            await self._insist(lambda: self.queue.resolve(self.claim, resolution))
        except Conflict as conflict:
            raise ClaimLost("resolved") from conflict

    async def release(self, delay: float, reason: str) -> None:
        """Gives the run back. Raises: ClaimLost."""
        await self._insist(lambda: self.queue.release(self.claim, delay=delay, reason=reason))

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """The same call again and again while the queue does not answer, until the lease has ended."""
        while (left := self.time_left) > 0:
            try:
                async with asyncio.timeout(None if left == float("inf") else left):
                    return await call()
            except Unavailable as unavailable:
                self.warn(f"the queue does not answer about {self.claim.run}: {unavailable}")
                await asyncio.sleep(min(unavailable.retry_after or RETRY, max(0.0, self.time_left)))
            except TimeoutError:
                break
        raise ClaimLost("unconfirmed")
