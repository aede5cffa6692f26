"""What every queue does with cancellations and notices."""

from __future__ import annotations

import asyncio

import pytest

from taskrunner.errors import ClaimLost
from taskrunner.model import COMPLETED, Notice, exception
from taskrunner.testing.conformance.queue.harness import LONG, QueueKit, scenario


class CancelChecks(QueueKit):
    """Canceling tasks and runs."""

    @scenario
    async def test_a_cancelled_task_never_runs(self) -> None:
        submitter = await self.submitted("one")
        assert await submitter.cancel("one", "a newer one is there")
        assert not await submitter.cancel("one")
        assert not await self.open().claim(1, lease=LONG, wait=self.short)
        assert (await submitter.status("one")).resolution == exception("canceled", "a newer one is there")

    @scenario
    async def test_a_cancelled_run_is_lost_even_when_no_notice_arrives(self) -> None:
        submitter = await self.submitted("one")
        queue = self.open()
        claim = await self.claimed(queue)
        assert await submitter.cancel("one")
        with pytest.raises(ClaimLost, match="canceled"):
            await queue.reclaim(claim, lease=LONG)
        with pytest.raises(ClaimLost, match="canceled"):
            await queue.resolve(claim, COMPLETED)
        assert str((await submitter.status("one")).resolution) == "exception (canceled)"
        assert not await queue.claim(1, lease=LONG, wait=0)

    @scenario
    async def test_a_cancellation_is_pushed_to_its_worker_and_to_no_other(self) -> None:
        submitter = await self.submitted("one", "two")
        queue, other = self.open("alice"), self.open("bob")
        if queue.capabilities.cancel != "pushed":
            return
        mine, theirs = await self.claimed(queue), await self.claimed(other)
        notices, other_notices = await queue.notices(), await other.notices()
        await submitter.cancel(mine.task_id, "not wanted")
        await submitter.cancel(theirs.task_id)
        async with self.within(self.prompt):
            assert await anext(notices) == Notice("cancel", mine.task_id, "not wanted")
            assert (await anext(other_notices)).task_id == theirs.task_id

    @scenario
    async def test_when_a_cancellation_meets_a_resolution_one_wins_for_all(self) -> None:
        for number in range(6):
            submitter = await self.submitted(f"task-{number}")
            queue = self.open()
            claim = await self.claimed(queue)
            calls = [queue.resolve(claim, COMPLETED), submitter.cancel(claim.task_id)]
            ends = await asyncio.gather(*(calls if number % 2 else reversed(calls)), return_exceptions=True)
            resolved, canceled = ends if number % 2 else reversed(ends)
            status = await submitter.status(claim.task_id)
            if canceled is True:
                assert isinstance(resolved, ClaimLost)
                assert str(status.resolution) == "exception (canceled)"
            else:
                assert (resolved, canceled, status.resolution) == ("applied", False, COMPLETED)

    @scenario
    async def test_a_resolution_is_not_cancelled(self) -> None:
        submitter = await self.submitted("one")
        queue = self.open()
        await queue.resolve(await self.claimed(queue), COMPLETED)
        assert not await submitter.cancel("one", "too late")
        assert (await submitter.status("one")).resolution == COMPLETED

    @scenario
    async def test_every_notice_after_the_subscription_arrives(self) -> None:
        submitter = await self.submitted("one", "two", "three")
        queue = self.open()
        if queue.capabilities.cancel != "pushed":
            return
        claims = [await self.claimed(queue) for _ in range(3)]
        notices = await queue.notices()
        for claim in claims:
            await submitter.cancel(claim.task_id, f"end {claim.task_id}")
        async with self.within(self.prompt):
            found = [await anext(notices) for _ in claims]
        assert {(notice.task_id, notice.message) for notice in found} == {
            (claim.task_id, f"end {claim.task_id}") for claim in claims
        }

    @scenario
    async def test_a_worker_may_subscribe_again(self) -> None:
        submitter = await self.submitted("one", "two")
        queue = self.open()
        if queue.capabilities.cancel != "pushed":
            return
        first, second = await self.claimed(queue), await self.claimed(queue)
        for claim in (first, second):
            notices = await queue.notices()
            await submitter.cancel(claim.task_id)
            async with self.within(self.prompt):
                while (await anext(notices)).task_id != claim.task_id:  # a notice may be repeated
                    pass
            await notices.aclose()  # type: ignore[attr-defined]  # a generator


__all__ = ["CancelChecks"]
