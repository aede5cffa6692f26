"""Queue and Submitter over a ledger: what the file and the memory have in common."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import attrs

from taskrunner.errors import Bug, ClaimLost
from taskrunner.interfaces.queue import Applied, Capabilities, Queue, Submitter
from taskrunner.model import Claim, Notice, Resolution, Submission, TaskStatus
from taskrunner.queues.ledger import claims, tasks
from taskrunner.queues.ledger.claims import Grant
from taskrunner.queues.ledger.database import Canceled, Ledger, Wish
from taskrunner.queues.submission import check_submission
from taskrunner.queues.wakeup import Bell, NoticeBoard, wait_for_ring

T = TypeVar("T")

LOOK_AGAIN = 2.0
"""Seconds after which everybody who waits looks for himself, since a ring can be lost: a second or so late is bearable,
and a look costs 0.05 ms."""

PAGE = 100
"""Statuses that `list` reads at once."""


class LedgerQueue(Queue, Submitter):
    """The two interfaces over verbs of `claims` and `tasks`. `worker_id` is empty for who only submits."""

    capabilities = Capabilities()

    def __init__(self, worker_id: str) -> None:
        self.worker_id = worker_id
        self.only = ""
        """Set to the id of a task, `claim` grants the runs of that one alone."""
        self._work = Bell()
        self._changes = Bell()
        self._board = NoticeBoard()

    @abstractmethod
    async def _do(self, verb: Callable[[Ledger], T]) -> T:
        """Performs a verb; its news reach all queues over the same ledger."""

    @abstractmethod
    async def _grant(self, verb: Callable[[Ledger], Grant]) -> Grant:
        """The same for a verb that grants claims; when nobody is left to take them, `give_back` must follow."""

    def _hear_of(self, wish: Wish) -> None:
        """Called before each wait: from here on these rings and notices must arrive."""

    def _heard(self, canceled: Canceled) -> None:
        if canceled.worker_id == self.worker_id:
            self._board.post(Notice("cancel", canceled.task_id, canceled.message))

    # ---- for workers ------------------------------------------------------------------------------------

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        if n < 1:
            raise Bug(f"claim({n}): at least one")
        claims.check_seconds(lease, "lease")
        claims.check_seconds(wait, "wait")
        loop = asyncio.get_running_loop()
        most, end = min(n, self.capabilities.max_claim), loop.time() + wait
        self._hear_of("work")
        while True:
            rung = self._work.listen()
            grant = await self._claim_now(most, lease)
            left = end - loop.time()
            if grant.claims or left <= 0:
                return grant.claims
            await wait_for_ring(rung, min(left, _until(grant.next_due)))

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        asked = asyncio.get_running_loop().time()
        renewed = await self._do(lambda ledger: claims.reclaim(ledger, claim, lease=lease))
        return attrs.evolve(renewed, valid_until=asked + lease)

    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        return await self._do(lambda ledger: claims.resolve(ledger, claim, resolution))

    async def release(self, claim: Claim, *, delay: float, reason: str) -> float:
        return await self._do(lambda ledger: claims.release(ledger, claim, delay=delay, reason=reason))

    def notices(self) -> AsyncIterator[Notice]:
        self._hear_of("work")
        return self._board.listen()

    async def _claim_now(self, n: int, lease: float) -> Grant:
        asked = asyncio.get_running_loop().time()
        grant = await self._grant(
            lambda ledger: claims.claim(ledger, n, worker_id=self.worker_id, lease=lease, only=self.only)
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
        self._hear_of("status")
        last: TaskStatus | None = None
        while last is None or last.state != "resolved":
            rung = self._changes.listen()
            status = await self.status(task_id)
            if status == last:
                await wait_for_ring(rung, LOOK_AGAIN)
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


def _until(next_due: float | None) -> float:
    """How long to sleep at most. Never nothing: a clock may be read a moment before the one that the ledger goes by."""
    return LOOK_AGAIN if next_due is None else min(max(next_due, 0.001), LOOK_AGAIN)


def _page(before: int | None, most: int) -> Callable[[Ledger], tuple[Sequence[TaskStatus], int | None]]:
    return lambda ledger: tasks.newest(ledger, before, most)


def give_back(ledger: Ledger, grants: Sequence[Grant]) -> None:
    """Releases claims that were granted to somebody who has gone."""
    for claim in (claim for grant in grants for claim in grant.claims):
        with suppress(ClaimLost):
            claims.release(ledger, claim, delay=0, reason="claim-canceled")
