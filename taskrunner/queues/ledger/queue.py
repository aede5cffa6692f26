"""Queue and Submitter over a ledger: what the queues in a file and in memory have in common."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import attrs

from taskrunner.amounts import Room
from taskrunner.errors import Bug, ClaimLost
from taskrunner.interfaces.queue import Applied, Capabilities, Queue, Slots, Submitter
from taskrunner.model import Claim, Notice, Resolution, Submission, TaskStatus
from taskrunner.queues.ledger import claims, retention, tasks
from taskrunner.queues.ledger.claims import Grant, Holder
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
    """The two interfaces over the operations of `claims` and `tasks`. `worker_id` is empty for a submitter; readers of
    the logs of its runs find them in `home`, if a worker has one."""

    capabilities = Capabilities(reads_room=True)

    def __init__(self, worker_id: str, home: Path | None = None) -> None:
        self.worker_id = worker_id
        self._holder = Holder(worker_id, _text_of(home) if home else "")
        self._room: Room | None = None
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

    def offer_slots(self, slots: Slots) -> None:
        """What has room now may have had none before."""
        if slots.room != self._room:
            self._room = slots.room
            self._wakeups["work"].wake()

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        asked = asyncio.get_running_loop().time()
        renewed = await self._do(lambda ledger: claims.reclaim(ledger, claim, lease=lease))
        return attrs.evolve(renewed, valid_until=asked + lease)

    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        return await self._do(lambda ledger: claims.resolve(ledger, claim, resolution))

    async def release(self, claim: Claim, *, delay: float, reason: str, message: str = "") -> float:
        return await self._do(lambda ledger: claims.release(ledger, claim, delay=delay, reason=reason, message=message))

    async def notices(self) -> AsyncIterator[Notice]:
        notices = self._notices.subscribe()
        await self._subscribe("work")
        return notices

    async def _claim_now(self, n: int, lease: float) -> Grant:
        asked = asyncio.get_running_loop().time()
        grant = await self._grant(
            lambda ledger: claims.claim(ledger, n, self._holder, lease=lease, only=self._only, room=self._room)
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

    async def matching(self, prefix: str, *, limit: int = 10) -> Sequence[str]:
        return await self._do(lambda ledger: tasks.matching(ledger, prefix, limit))

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

    async def forget(self, before: datetime, *, dry_run: bool = False) -> int:
        if dry_run:
            return await self._do(lambda ledger: retention.count_ended(ledger, before))
        removed = 0
        while page := await self._do(lambda ledger: retention.forget_page(ledger, before)):
            removed += page
        return removed

    async def list(self, *, limit: int = PAGE) -> AsyncIterator[TaskStatus]:
        before: int | None = None
        while limit > 0:
            page, before = await self._do(_page(before, min(limit, PAGE)))
            for status in page:
                yield status
            if before is None:
                return
            limit -= len(page)


def _text_of(home: Path) -> str:
    """A path that is no UTF-8 cannot be a text in a database: nobody finds this home."""
    text = str(home.absolute())
    return "" if any("\ud800" <= character <= "\udfff" for character in text) else text


def _sleep_limit(next_due: float | None) -> float:
    """Seconds to sleep at most. Never 0: the loop's clock may be a moment behind the ledger's."""
    return POLL_INTERVAL if next_due is None else min(max(next_due, 0.001), POLL_INTERVAL)


def _page(before: int | None, most: int) -> Callable[[Ledger], tuple[Sequence[TaskStatus], int | None]]:
    return lambda ledger: tasks.newest(ledger, before, most)


UNTAKEN = "the worker stopped claiming while this claim was on its way to it"


def release_grant(ledger: Ledger, grant: Grant) -> None:
    """Releases claims that no caller has taken."""
    for claim in grant.claims:
        with suppress(ClaimLost):
            claims.release(ledger, claim, delay=0, reason="claim-canceled", message=UNTAKEN)
