"""What a queue that reads `Slots.room` grants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from taskrunner.amounts import Amounts, Room
from taskrunner.interfaces.queue import Queue, Slots
from taskrunner.model import Document, Health, Submission
from taskrunner.testing.conformance.queue.harness import LONG, K, QueueKit, scenario

TOTAL = Amounts(cpus=8, named={"gpu": 1})


def offer(queue: Queue, cpus: float) -> None:
    """Has so many CPUs left, as a worker would."""
    room = Room(TOTAL, Amounts(cpus=1), {"cpus": cpus, "gpu": 1})
    queue.offer_slots(Slots(8, 8, Health(fit=True), room=room))


def where_room_is_read(test: Callable[[K], Coroutine[Any, Any, None]]) -> Callable[[K], None]:
    """Makes a test of a coroutine function, which is left out for a queue that grants runs whether they fit or not."""

    @wraps(test)
    async def run(kit: K) -> None:
        if kit.open().capabilities.reads_room:
            await test(kit)

    return scenario(run)


class RoomChecks(QueueKit):
    """A run that does not fit stays in the queue."""

    async def roomy(self, *cpus: float, **named: int) -> Queue:
        """A queue with a task for each number of CPUs."""
        queue, submitter = self.open(), self.open_submitter()
        for index, number in enumerate(cpus):
            document: Document = {"id": f"t{index}", "resources": {"cpus": number, **named}}
            await submitter.submit(Submission(f"t{index}", document))
        return queue

    @where_room_is_read
    async def test_a_run_is_granted_when_there_is_room(self) -> None:
        queue = await self.roomy(4)
        offer(queue, 3)
        assert not await queue.claim(1, lease=LONG, wait=self.short)
        waiting = asyncio.ensure_future(queue.claim(1, lease=LONG, wait=LONG))
        await self.pass_time(self.short)
        offer(queue, 4)
        assert (await self.soon(waiting)).task_id == "t0"

    @where_room_is_read
    async def test_runs_that_are_granted_together_fit_together(self) -> None:
        queue = await self.roomy(4, 4, 4)
        offer(queue, 8)
        granted = [*await queue.claim(3, lease=LONG, wait=self.prompt)]
        offer(queue, 8 - 4 * len(granted))
        while more := await queue.claim(3, lease=LONG, wait=self.short):
            granted += more
            offer(queue, 8 - 4 * len(granted))
        assert [claim.task_id for claim in granted] == ["t0", "t1"]

    @where_room_is_read
    async def test_a_smaller_run_may_go_first(self) -> None:
        queue = await self.roomy(4, 2)
        offer(queue, 3)
        assert (await self.claimed(queue)).task_id == "t1"

    @where_room_is_read
    async def test_a_run_that_never_fits_is_granted_so_that_its_worker_says_so(self) -> None:
        queue = await self.roomy(9)
        offer(queue, 1)
        assert (await self.claimed(queue)).task_id == "t0"

    @where_room_is_read
    async def test_a_run_that_asks_for_nothing_takes_the_default(self) -> None:
        queue = await self.roomy()
        offer(queue, 0.5)
        await self.submitted("small")
        assert not await queue.claim(1, lease=LONG, wait=self.short)
        offer(queue, 1)
        assert (await self.claimed(queue)).task_id == "small"


__all__ = ["RoomChecks"]
