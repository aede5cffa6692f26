"""Claims: requested without losing one, renewed in time, reported once, and lost as soon as the lease may have ended.

Only `reclaim` and `resolve` decide about the ownership of a run. If neither is confirmed before the lease ends, by the
worker's own clock, the claim is lost: another worker may run the task from then on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import attrs

from taskrunner.blocking import OverLimit
from taskrunner.bounded import BoundedCalls
from taskrunner.errors import ClaimLost, Conflict, TaskrunnerError, Unavailable
from taskrunner.interfaces.queue import Queue
from taskrunner.model import Claim, Resolution

T = TypeVar("T")

FIRST_RECLAIM = 60.0
"""Seconds after which a claim is renewed for the first time at the latest. Two thirds of all cancelled tasks are
cancelled in their first minutes, and most queues report it at a reclaim."""

RETRY = 1.0
"""Seconds between two tries when the queue does not answer."""

ANSWER_LIMIT = 60.0
"""Seconds beyond its own `wait` that a claim may take before the queue counts as unavailable."""

WITHDRAW_LIMIT = 30.0
"""Seconds for a claim in flight to end once it is cancelled: the server may still answer it."""


@attrs.define(eq=False)
class Claiming:
    """Asks the queue for runs. A claim in flight may already own one, so it is always waited for."""

    queue: Queue
    lease: float
    """Seconds."""
    calls: BoundedCalls
    _late: set[asyncio.Future[Sequence[Claim]]] = attrs.field(init=False, factory=set)
    """Requests that ended neither in time nor when they were cancelled."""
    _returning: set[asyncio.Task[None]] = attrs.field(init=False, factory=set)

    async def ask(self, n: int, wait: float) -> Sequence[Claim]:
        """Up to `n` runs, none after `wait` seconds. Runs that are granted during its cancellation are returned.

        Raises: Unavailable.
        """
        request = asyncio.ensure_future(self.queue.claim(n, lease=self.lease, wait=wait))
        try:
            done, _ = await asyncio.wait([request], timeout=wait + ANSWER_LIMIT)
        except asyncio.CancelledError:
            if claims := await self._withdraw(request):
                return claims
            raise
        if done:
            return request.result()
        if claims := await self._withdraw(request):
            return claims
        raise Unavailable(f"a claim has not been answered within {wait + ANSWER_LIMIT:g} s")

    async def hand_back(self, claim: Claim, delay: float) -> None:
        """Releases a claim whose run was not begun. If that fails, the queue waits until the lease ends."""
        release = self.queue.release(claim, delay=delay, reason="resource-unavailable")
        with suppress(TaskrunnerError, OverLimit):
            await self.calls.call(release, limit=WITHDRAW_LIMIT, doing=f"handing back {claim.run}")

    async def _withdraw(self, request: asyncio.Future[Sequence[Claim]]) -> Sequence[Claim]:
        """Cancels a request and waits for its end. Returns the runs that were granted in that moment."""
        request.cancel()
        try:
            await asyncio.wait([request], timeout=WITHDRAW_LIMIT)
        finally:
            if not request.done():
                self.calls.warn("a claim in flight does not end: what it still grants is handed back")
                self._late.add(request)
                request.add_done_callback(self._granted_late)
        return request.result() if request.done() and not request.cancelled() and not request.exception() else ()

    def _granted_late(self, request: asyncio.Future[Sequence[Claim]]) -> None:
        self._late.discard(request)
        if request.cancelled() or request.exception():
            return
        for claim in request.result():
            returning = asyncio.ensure_future(self.hand_back(claim, 0.0))
            self._returning.add(returning)
            returning.add_done_callback(self._returning.discard)


@attrs.define(eq=False)
class KeptClaim:
    """One claim, renewed by `keep` until it is reported or lost."""

    queue: Queue
    claim: Claim
    lease: float
    """Seconds asked for at each reclaim."""
    calls: BoundedCalls

    @property
    def time_left(self) -> float:
        """Seconds until the claim is lost, if no reclaim is confirmed."""
        if self.claim.valid_until is None:
            return float("inf")
        return self.claim.valid_until - asyncio.get_running_loop().time()

    @property
    def pause(self) -> float:
        """Seconds until it should be renewed."""
        return max(0.0, min(FIRST_RECLAIM, self.lease / 3, self.time_left / 3))

    async def keep(self) -> None:
        """Reclaims now and then again and again, until it is cancelled. Raises: ClaimLost."""
        while True:
            self.claim = await self._retry(lambda: self.queue.reclaim(self.claim, lease=self.lease))
            await asyncio.sleep(self.pause)

    async def resolve(self, resolution: Resolution) -> None:
        """Reports the resolution. Raises: ClaimLost."""
        try:
            await self._retry(lambda: self.queue.resolve(self.claim, resolution))
        except Conflict as conflict:
            raise ClaimLost("resolved") from conflict

    async def release(self, delay: float, reason: str) -> None:
        """Hands the run back, to be claimed again after `delay` seconds. Raises: ClaimLost."""
        await self._retry(lambda: self.queue.release(self.claim, delay=delay, reason=reason))

    async def _retry(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Repeats a call while the queue does not answer, until the lease has ended."""
        while (left := self.time_left) > 0:
            limit = None if left == float("inf") else left
            try:
                return await self.calls.call(call(), limit=limit, doing=f"asking the queue about {self.claim.run}")
            except Unavailable as unavailable:
                self.calls.warn(f"the queue does not answer about {self.claim.run}: {unavailable}")
                await asyncio.sleep(min(unavailable.retry_after or RETRY, max(0.0, self.time_left)))
            except OverLimit:
                break
        raise ClaimLost("unconfirmed")
