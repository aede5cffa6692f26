"""The harness of the tests of queues: opens queues, claims runs, lets time pass."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, ClassVar, TypeVar

from taskrunner.interfaces.queue import Queue, Submitter
from taskrunner.limits import MAX_DOCUMENT
from taskrunner.model import Claim, Submission
from taskrunner.testing.conformance.kit import ConformanceKit

K = TypeVar("K", bound="QueueKit")

LONG = 600.0
"""Seconds of a lease that does not expire in a test."""


def scenario(test: Callable[[K], Coroutine[Any, Any, None]]) -> Callable[[K], None]:
    """Makes a test of a coroutine function: runs it in the time of the kit, and closes what the test has opened."""

    @wraps(test)
    def run(kit: K) -> None:
        kit.bounded(kit.closing(test(kit)))

    return run


class QueueKit(ConformanceKit, ABC):
    """What the author of a queue defines. pytest makes an instance for each test, which needs an empty queue."""

    limit: ClassVar[float] = 1200.0
    """Seconds that one test may take, by the kit's clock: more than LONG, which a test may wait for a queue that does
    not wake up."""

    short = 1.0
    """Seconds of a lease or a delay that expires in a test. For a queue that sets the lease itself: its length."""

    prompt = 20.0
    """Seconds within which an immediate effect must be seen."""

    max_document = MAX_DOCUMENT
    """Bytes of the largest document, as JSON, that the queue takes."""

    @abstractmethod
    def worker(self, worker_id: str) -> Queue:
        """Opens the queue of the test for one more worker."""

    @abstractmethod
    def submitter(self) -> Submitter:
        """Opens the queue of the test for a submitter, which is closed after the test if it has a `close`."""

    async def pass_time(self, seconds: float) -> None:
        """Returns when so many seconds have passed for the queue."""
        await asyncio.sleep(seconds)

    # ---- for the tests ----------------------------------------------------------------------------------

    async def closing(self, test: Awaitable[None]) -> None:
        self._opened: list[Any] = []
        before = asyncio.all_tasks()
        try:
            await test
        finally:
            for opened in self._opened:
                await opened.close()
        for _ in range(10):  # turns of the loop in which cancelled tasks end
            await asyncio.sleep(0)
        left = [task.get_coro() for task in asyncio.all_tasks() - before]
        assert left == [], "tasks go on after the queue was closed"

    def open(self, worker_id: str = "alice") -> Queue:
        queue = self.checker.wrap(self.worker(worker_id), Queue)
        self._opened.append(queue)
        return queue

    def open_submitter(self) -> Submitter:
        submitter = self.checker.wrap(self.submitter(), Submitter)
        if hasattr(submitter, "close"):
            self._opened.append(submitter)
        return submitter

    async def submitted(self, *task_ids: str, **details: Any) -> Submitter:
        """A submitter that has submitted these tasks, each with its id as document."""
        submitter = self.open_submitter()
        for task_id in task_ids:
            assert await submitter.submit(Submission(task_id, {"task": task_id}, **details))
        return submitter

    async def claimed(self, queue: Queue, lease: float = LONG) -> Claim:
        """Claims one run, which must be there."""
        [claim] = await queue.claim(1, lease=lease, wait=self.prompt)
        return claim

    async def soon(self, waiting: Awaitable[Sequence[Claim]]) -> Claim:
        """The one run of a claim that waits, which must get it promptly."""
        async with self.within(self.prompt):
            [claim] = await waiting
        return claim

    async def taken_over(self) -> tuple[Queue, Claim, Queue, Claim]:
        """A stale claim with its queue, and the claim that has replaced it with the queue of its new owner."""
        await self.submitted("one")
        stale, fresh = self.open("alice"), self.open("bob")
        lost = await self.claimed(stale, self.short)
        await self.pass_time(self.short * 1.5)
        return stale, lost, fresh, await self.claimed(fresh)


__all__ = ["LONG", "QueueKit", "scenario"]
