"""How the tests of a queue reach it, and what they do again and again."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar

from taskrunner.interfaces.queue import Queue, Submitter
from taskrunner.model import Claim, Submission

K = TypeVar("K", bound="QueueKit")

LONG = 600.0
"""Seconds of a lease that does not end in a test."""


def scenario(test: Callable[[K], Coroutine[Any, Any, None]]) -> Callable[[K], None]:
    """Makes a test of a coroutine: runs it in the kit's time, and closes what it has opened."""

    @wraps(test)
    def run(kit: K) -> None:
        kit.run(kit.closing(test(kit)))

    return run


class QueueKit(ABC):
    """How the tests reach a queue. pytest makes a new instance for each test, and each needs an empty queue."""

    short = 1.0
    """Seconds of a lease, or of a delay, that a test lets pass."""

    prompt = 20.0
    """Seconds in which something must have happened that happens at once."""

    max_document = 1 << 20
    """Bytes of a document, as JSON, that the queue takes at most."""

    @abstractmethod
    def worker(self, worker_id: str) -> Queue:
        """Opens the test's queue for one more worker."""

    @abstractmethod
    def submitter(self) -> Submitter:
        """Opens the test's queue for a submitter. One that has a `close` is closed in the end."""

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Runs a test to its end."""
        asyncio.run(main)

    async def pass_time(self, seconds: float) -> None:
        """Returns when so much time has passed for the queue."""
        await asyncio.sleep(seconds)

    # ---- for the tests ----------------------------------------------------------------------------------

    async def closing(self, test: Awaitable[None]) -> None:
        self._opened: list[Any] = []
        try:
            await test
        finally:
            for opened in self._opened:
                await opened.close()

    def open(self, worker_id: str = "alice") -> Queue:
        queue = self.worker(worker_id)
        self._opened.append(queue)
        return queue

    def open_submitter(self) -> Submitter:
        submitter = self.submitter()
        if hasattr(submitter, "close"):
            self._opened.append(submitter)
        return submitter

    async def submitted(self, *task_ids: str, **details: Any) -> Submitter:
        """A submitter that has submitted tasks; each has its own id as document."""
        submitter = self.open_submitter()
        for task_id in task_ids:
            assert await submitter.submit(Submission(task_id, {"task": task_id}, **details))
        return submitter

    async def held(self, queue: Queue, lease: float = LONG) -> Claim:
        """The one claim that there must be."""
        [claim] = await queue.claim(1, lease=lease, wait=self.prompt)
        return claim

    async def taken_over(self) -> tuple[Queue, Claim, Queue, Claim]:
        """A stale claim and its queue, and the claim that has superseded it with its own."""
        await self.submitted("one")
        stale, fresh = self.open("alice"), self.open("bob")
        lost = await self.held(stale, self.short)
        await self.pass_time(self.short * 1.5)
        return stale, lost, fresh, await self.held(fresh)
