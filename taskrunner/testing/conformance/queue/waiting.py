"""What wakes a claim that waits: everything that makes a run ready."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from taskrunner.model import COMPLETED, Claim, exception
from taskrunner.testing.conformance.queue.harness import LONG, QueueKit, scenario


class WaitChecks(QueueKit):
    """A claim returns as soon as there is a run."""

    def waiting(self, n: int = 1) -> asyncio.Task[Sequence[Claim]]:
        return asyncio.ensure_future(self.open("waiter").claim(n, lease=LONG, wait=LONG))

    @scenario
    async def test_claim_waits_and_then_returns_none(self) -> None:
        loop, queue = asyncio.get_running_loop(), self.open()
        began = loop.time()
        assert not await queue.claim(1, lease=LONG, wait=self.short)
        assert loop.time() - began >= self.short * 0.99

    @scenario
    async def test_a_waiting_claim_wakes_when_a_task_is_submitted(self) -> None:
        waiting = self.waiting()
        await self.pass_time(self.short)
        await self.submitted("one")
        claim = await self.soon(waiting)
        assert (claim.task_id, claim.run_id, claim.document) == ("one", 0, {"task": "one"})

    @scenario
    async def test_one_run_is_granted_without_waiting_for_more(self) -> None:
        await self.submitted("one")
        assert (await self.soon(self.waiting(3))).task_id == "one"

    @scenario
    async def test_a_waiting_claim_wakes_when_a_run_is_released(self) -> None:
        await self.submitted("one")
        queue = self.open()
        claim, waiting = await self.claimed(queue), self.waiting()
        await self.pass_time(self.short)
        await queue.release(claim, delay=0, reason="not here")
        assert (await self.soon(waiting)).task_id == "one"

    @scenario
    async def test_a_waiting_claim_wakes_when_a_delay_ends(self) -> None:
        await self.submitted("one")
        queue = self.open()
        claim, waiting = await self.claimed(queue), self.waiting()
        await asyncio.sleep(0)
        await queue.release(claim, delay=self.short, reason="not here")
        assert (await self.soon(waiting)).task_id == "one"

    @scenario
    async def test_a_waiting_claim_wakes_when_a_lease_expires(self) -> None:
        await self.submitted("one")
        await self.claimed(self.open(), self.short)
        assert (await self.soon(self.waiting())).run_id > 0

    @scenario
    async def test_a_waiting_claim_wakes_when_a_task_may_begin(self) -> None:
        await self.submitted("one", not_before=datetime.now(UTC) + timedelta(seconds=self.short))
        assert (await self.soon(self.waiting())).task_id == "one"

    @scenario
    async def test_a_waiting_claim_wakes_when_a_task_is_tried_again(self) -> None:
        await self.submitted("one")
        queue = self.open()
        claim, waiting = await self.claimed(queue), self.waiting()
        await self.pass_time(self.short)
        await queue.resolve(claim, exception("worker-shutdown", "the machine stops"))
        assert (await self.soon(waiting)).task_id == "one"

    @scenario
    async def test_a_waiting_claim_wakes_when_a_submitter_retries(self) -> None:
        submitter = await self.submitted("one")
        queue = self.open()
        await queue.resolve(await self.claimed(queue), COMPLETED)
        waiting = self.waiting()
        await self.pass_time(self.short)
        assert await submitter.retry("one")
        assert (await self.soon(waiting)).task_id == "one"


__all__ = ["WaitChecks"]
