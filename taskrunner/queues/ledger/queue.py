"""Queue and Submitter over a ledger: what the queues in a file and in memory have in common."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

import attrs

from taskrunner.errors import Bug, ClaimLost
from taskrunner.interfaces.queue import Applied, Capabilities, Queue, Submitter
from taskrunner.model import Claim, Notice, Resolution, Submission, TaskStatus
from taskrunner.queues.ledger import claims, tasks
from taskrunner.queues.ledger.claims import Grant
from taskrunner.queues.ledger.database import Canceled, Ledger, Topic
from taskrunner.queues.notices import NoticeBroadcast
from taskrunner.queues.submission import check_submission
from taskrunner.queues.wakeup import Wakeup, wait_for

T = TypeVar("T")

POLL_INTERVAL = 2.0
"""Seconds after which a waiter reads the database although no wake-up came: wake-ups can be lost. Such a delay is
bearable, and a read costs 0.05 ms."""

PAGE = 100
"""Statuses that `list` reads at once."""


class LedgerQueue(Queue, Submitter):
    """The two interfaces over the operations of `claims` and `tasks`. `worker_id` is empty for a submitter."""

    capabilities = Capabilities()

    def __init__(self, worker_id: str) -> None:
        self.worker_id = worker_id
        self._only = ""
        """The task whose runs alone are claimed; empty: any."""
        self._wakeups: Mapping[Topic, Wakeup] = {"work": Wakeup(), "status": Wakeup()}
        self._notices = NoticeBroadcast()

    @abstractmethod
    async def _do(self, operation: Callable[[Ledger], T]) -> T:
        """Performs an operation; its changes are published to all queues over the same ledger."""

    @abstractmethod
    async def _grant(self, operation: Callable[[Ledger], Grant]) -> Grant:
        """The same for an operation that grants claims. When its caller was cancelled, `release_grant` follows."""

    async def _subscribe(self, topic: Topic) -> None:
        """Called before each wait: wake-ups and notices of the topic must arrive from now on."""

    def _publish_canceled(self, canceled: Canceled) -> None:
        if canceled.worker_id == self.worker_id:
            self._notices.publish(Notice("cancel", canceled.task_id, canceled.message))

    # ---- for workers ------------------------------------------------------------------------------------

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        if n < 1:
            raise Bug(f"claim({n}): at least one")
        claims.check_seconds(lease, "lease")
        claims.check_seconds(wait, "wait")
        loop = asyncio.get_running_loop()
        most, end = min(n, self.capabilities.max_claim), loop.time() + wait
        await self._subscribe("work")
        while True:
            wakeup = self._wakeups["work"].event()
            grant = await self._claim_now(most, lease)
            left = end - loop.time()
            if grant.claims or left <= 0:
                return grant.claims
            await wait_for(wakeup, min(left, _sleep_limit(grant.next_due)))

    def claim_only(self, task_id: str) -> None:
        self._only = task_id

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        asked = asyncio.get_running_loop().time()
        renewed = await self._do(lambda ledger: claims.reclaim(ledger, claim, lease=lease))
        return attrs.evolve(renewed, valid_until=asked + lease)

    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        return await self._do(lambda ledger: claims.resolve(ledger, claim, resolution))

    async def release(self, claim: Claim, *, delay: float, reason: str) -> float:
        return await self._do(lambda ledger: claims.release(ledger, claim, delay=delay, reason=reason))

    def notices(self) -> AsyncIterator[Notice]:
        return self._subscribed(self._notices.subscribe())

    async def _subscribed(self, notices: AsyncIterator[Notice]) -> AsyncIterator[Notice]:
        await self._subscribe("work")
        async for notice in notices:
            yield notice

    async def _claim_now(self, n: int, lease: float) -> Grant:
        asked = asyncio.get_running_loop().time()
        grant = await self._grant(
            lambda ledger: claims.claim(ledger, n, worker_id=self.worker_id, lease=lease, only=self._only)
        )
        return attrs.evolve(grant, claims=[attrs.evolve(claim, valid_until=asked + lease) for claim in grant.claims])

    # ---- for submitters ---------------------------------------------------------------------------------

    async def submit(self, submission: Submission) -> bool:
        document = check_submission(submission)
        return await self._do(lambda ledger: tasks.submit(ledger, submission, document))

    async def cancel(self, task_id: str, message: str = "") -> bool:
        return await self._do(lambda ledger: tasks.cancel(ledger, task_id, message))

    async def retry(self, task_id: str) -> bool:
        return await self._do(lambda ledger: tasks.retry(ledger, task_id))

    async def status(self, task_id: str) -> TaskStatus:
        return await self._do(lambda ledger: tasks.status(ledger, task_id))

    async def pending(self) -> int:
        return await self._do(tasks.pending)

    async def watch(self, task_id: str) -> AsyncIterator[TaskStatus]:
        await self._subscribe("status")
        last: TaskStatus | None = None
        while last is None or last.state != "resolved":
            wakeup = self._wakeups["status"].event()
            status = await self.status(task_id)
            if status == last:
                await wait_for(wakeup, POLL_INTERVAL)
                continue
            last = status
            yield status

    async def list(self, *, limit: int = PAGE) -> AsyncIterator[TaskStatus]:
        before: int | None = None
        while limit > 0:
            page, before = await self._do(_page(before, min(limit, PAGE)))
            for status in page:
                yield status
            if before is None:
                return
            limit -= len(page)


def _sleep_limit(next_due: float | None) -> float:
    """Seconds to sleep at most. Never 0: the loop's clock may be a moment behind the ledger's."""
    return POLL_INTERVAL if next_due is None else min(max(next_due, 0.001), POLL_INTERVAL)


def _page(before: int | None, most: int) -> Callable[[Ledger], tuple[Sequence[TaskStatus], int | None]]:
    return lambda ledger: tasks.newest(ledger, before, most)


def release_grant(ledger: Ledger, grant: Grant) -> None:
    """Releases claims that no caller has taken."""
    for claim in grant.claims:
        with suppress(ClaimLost):
            claims.release(ledger, claim, delay=0, reason="claim-canceled")
