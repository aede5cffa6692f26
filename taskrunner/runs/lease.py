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
from taskrunner.interfaces.queue import Applied, Queue
from taskrunner.model import Claim, Resolution

T = TypeVar("T")

FOREVER = float("inf")

FIRST_RECLAIM = 60.0
"""Seconds after which a claim is renewed for the first time at the latest. Two thirds of all cancelled tasks are
cancelled in their first minutes, and most queues report it at a reclaim."""

UPLOAD_TIME = 300.0
"""Seconds that a run has to upload and report what it has made, when its queue lets no run be held for ever; but at
most a tenth of the time that it lets."""

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
    """Seconds: the worker's setting, which a queue may overrule."""
    calls: BoundedCalls
    _late: set[asyncio.Future[Sequence[Claim]]] = attrs.field(init=False, factory=set)
    """Requests that ended neither in time nor when they were cancelled."""
    _returning: set[asyncio.Task[None]] = attrs.field(init=False, factory=set)
    _request: asyncio.Future[Sequence[Claim]] | None = attrs.field(init=False, default=None)

    @property
    def granted(self) -> int:
        """Number of runs that the queue has granted and `ask` has not returned yet."""
        request = self._request
        return len(request.result()) if request and _has_result(request) else 0

    async def ask(self, n: int, wait: float) -> Sequence[Claim]:
        """Up to `n` runs, none after `wait` seconds. Runs that are granted during its cancellation are returned.

        Raises: Unavailable.
        """
        lease = lease_length(self.queue, self.lease)
        request = self._request = asyncio.ensure_future(self.queue.claim(n, lease=lease, wait=wait))
        try:
            return await self._answer_of(request, wait)
        finally:
            self._request = None

    async def _answer_of(self, request: asyncio.Future[Sequence[Claim]], wait: float) -> Sequence[Claim]:
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
        return request.result() if _has_result(request) else ()

    def _granted_late(self, request: asyncio.Future[Sequence[Claim]]) -> None:
        self._late.discard(request)
        if not _has_result(request):
            return
        for claim in request.result():
            returning = asyncio.ensure_future(self.hand_back(claim, 0.0))
            self._returning.add(returning)
            returning.add_done_callback(self._returning.discard)


def _has_result(request: asyncio.Future[Sequence[Claim]]) -> bool:
    return request.done() and not request.cancelled() and not request.exception()


@attrs.define(eq=False)
class KeptClaim:
    """One claim, renewed by `keep` until it is reported or lost. `claim` is another object after each reclaim."""

    queue: Queue
    claim: Claim
    lease: float
    """Seconds: the worker's setting, which a queue may overrule."""
    calls: BoundedCalls
    on_reclaim: Callable[[Claim], None] = lambda _: None
    """Called with the claim of each reclaim."""
    _held_until: float = attrs.field(init=False)
    """When the queue lets the run be held no longer, on the loop's clock."""
    _renewed: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        hold = self.queue.capabilities.max_hold
        self._held_until = FOREVER if hold is None else asyncio.get_running_loop().time() + hold

    @property
    def time_left(self) -> float:
        """Seconds until the claim is lost, if no reclaim is confirmed."""
        until = FOREVER if self.claim.valid_until is None else self.claim.valid_until
        return min(until, self._held_until) - asyncio.get_running_loop().time()

    @property
    def hold_left(self) -> float:
        """Seconds until the claim is lost, whatever is confirmed."""
        return self._held_until - asyncio.get_running_loop().time()

    @property
    def run_time(self) -> float:
        """Seconds that the run may still go on, so that it can upload and report while it is held."""
        hold = self.queue.capabilities.max_hold
        return FOREVER if hold is None else max(0.0, self.hold_left - min(UPLOAD_TIME, hold / 10))

    @property
    def pause(self) -> float:
        """Seconds until it should be renewed: a third of what the queue has granted. There is nothing to renew when
        that lasts as long as the run can be held."""
        if self.time_left >= self.hold_left < FOREVER:
            return max(0.0, self.hold_left)
        bound = self.claim.valid_until is None  # to a connection: the next reclaim only asks whether it is there
        third = (lease_length(self.queue, self.lease) if bound else self.time_left) / 3
        return max(0.0, third if self._renewed and not bound else min(FIRST_RECLAIM, third))

    async def keep(self) -> None:
        """Reclaims now and then again and again, until it is cancelled. Raises: ClaimLost."""
        while True:
            self.claim = await self._retry(self._reclaim)
            self.on_reclaim(self.claim)
            self._renewed = True
            await asyncio.sleep(self.pause)

    async def resolve(self, resolution: Resolution) -> Applied:
        """Reports the resolution. Raises: ClaimLost."""
        try:
            return await self._retry(lambda: self.queue.resolve(self.claim, resolution))
        except Conflict as conflict:
            raise ClaimLost("resolved", str(conflict)) from conflict

    async def release(self, delay: float, reason: str, message: str) -> None:
        """Hands the run back, to be claimed again after `delay` seconds. Raises: ClaimLost."""
        await self._retry(lambda: self.queue.release(self.claim, delay=delay, reason=reason, message=message))

    async def _reclaim(self) -> Claim:
        return await self.queue.reclaim(self.claim, lease=min(lease_length(self.queue, self.lease), self.hold_left))

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
        if self.hold_left <= 0:
            hold = self.queue.capabilities.max_hold
            raise ClaimLost("deadline", f"its queue lets no run be held for longer than {hold:g} s")
        raise ClaimLost("unconfirmed", "the queue did not confirm it before the lease ended")


def lease_length(queue: Queue, setting: float) -> float:
    """Seconds of the leases of this queue, when the worker's setting is `setting`."""
    able = queue.capabilities
    return able.lease if able.lease is not None else min(setting, able.max_lease or FOREVER)
