"""What every queue does with retries: its own after an exception, and those of a submitter."""

from __future__ import annotations

import pytest

from taskrunner.errors import ClaimLost
from taskrunner.model import COMPLETED, RETRIED, exception, failed
from taskrunner.testing.conformance.queue.harness import LONG, QueueKit, scenario

SHUTDOWN = exception("worker-shutdown", "the machine stops")


class RetryChecks(QueueKit):
    """A retry is counted once, and only for the reasons in `RETRIED`."""

    @scenario
    async def test_the_reasons_in_retried_make_a_new_run(self) -> None:
        for reason in sorted(RETRIED):
            submitter = await self.submitted(reason, retries=1)
            queue = self.open()
            for attempt in range(2):
                claim = await self.claimed(queue)
                assert claim.task_id == reason
                await queue.resolve(claim, exception(reason, f"attempt {attempt}"))
            status = await submitter.status(reason)
            assert (status.state, status.resolution) == ("resolved", exception(reason, "attempt 1"))
            assert not await queue.claim(1, lease=LONG, wait=0)

    @scenario
    async def test_another_reason_makes_no_new_run(self) -> None:
        submitter = await self.submitted("one")
        queue = self.open()
        await queue.resolve(await self.claimed(queue), exception("malformed-payload", "no command"))
        assert (await submitter.status("one")).state == "resolved"
        assert not await queue.claim(1, lease=LONG, wait=self.short)

    @scenario
    async def test_a_task_whose_workers_all_die_is_resolved(self) -> None:
        submitter = await self.submitted("one", retries=1)
        queue = self.open()
        for _ in range(2):
            await self.claimed(queue, self.short)
            await self.pass_time(self.short * 1.5)
        assert not await queue.claim(1, lease=LONG, wait=0)
        status = await submitter.status("one")
        assert (status.state, str(status.resolution)) == ("resolved", "exception (claim-expired)")

    @scenario
    async def test_a_failed_run_makes_no_new_run(self) -> None:
        submitter = await self.submitted("one")
        queue = self.open()
        await queue.resolve(await self.claimed(queue), failed("worker-shutdown", "it only says so"))
        assert (await submitter.status("one")).state == "resolved"
        assert not await queue.claim(1, lease=LONG, wait=self.short)

    @scenario
    async def test_a_run_that_is_tried_again_keeps_its_own_resolution(self) -> None:
        submitter = await self.submitted("one")
        queue = self.open()
        await queue.resolve(await self.claimed(queue), SHUTDOWN)
        status = await submitter.status("one")
        assert (status.state, status.resolution) == ("pending", None)
        assert [run.resolution for run in status.runs] == [SHUTDOWN]

    @scenario
    async def test_a_release_costs_no_retry(self) -> None:
        submitter = await self.submitted("one", retries=1)
        queue = self.open()
        for _ in range(3):
            await queue.release(await self.claimed(queue), delay=0, reason="not here")
        await queue.resolve(await self.claimed(queue), SHUTDOWN)
        assert (await submitter.status("one")).state == "pending", "its one retry is left"
        await queue.resolve(await self.claimed(queue), COMPLETED)

    @scenario
    async def test_a_resolution_that_is_sent_twice_costs_one_retry(self) -> None:
        submitter = await self.submitted("one", retries=1)
        queue, other = self.open("alice"), self.open("bob")
        claim = await self.claimed(queue)
        assert await queue.resolve(claim, SHUTDOWN) == "applied"
        assert await queue.resolve(claim, SHUTDOWN) == "already-so"
        again = await self.claimed(other)
        assert await queue.resolve(claim, SHUTDOWN) == "already-so"
        assert not await queue.claim(1, lease=LONG, wait=0)
        assert await other.resolve(again, COMPLETED) == "applied"
        assert (await submitter.status("one")).resolution == COMPLETED

    @scenario
    async def test_a_submitter_makes_a_new_run_with_all_retries(self) -> None:
        submitter = await self.submitted("one", retries=1)
        queue = self.open()
        for _ in range(2):
            await queue.resolve(await self.claimed(queue), SHUTDOWN)
        assert (await submitter.status("one")).resolution == SHUTDOWN
        assert await submitter.retry("one")
        await queue.resolve(await self.claimed(queue), SHUTDOWN)
        assert (await submitter.status("one")).state == "pending", "its one retry is there again"
        await queue.resolve(await self.claimed(queue), COMPLETED)
        status = await submitter.status("one")
        assert status.resolution == COMPLETED
        assert [run.resolution for run in status.runs] == [SHUTDOWN, SHUTDOWN, SHUTDOWN, COMPLETED]

    @scenario
    async def test_only_a_task_that_was_resolved_is_retried(self) -> None:
        submitter = await self.submitted("one")
        queue = self.open()
        assert not await submitter.retry("one")
        claim = await self.claimed(queue)
        assert not await submitter.retry("one")
        await queue.resolve(claim, failed("exit-code", "it returned 1"))
        assert await submitter.retry("one")
        status = await submitter.status("one")
        assert (status.state, status.resolution) == ("pending", None)
        assert not await submitter.retry("one"), "it is pending again"
        await queue.resolve(await self.claimed(queue), COMPLETED)
        assert not await queue.claim(1, lease=LONG, wait=0)

    @scenario
    async def test_a_task_that_was_cancelled_is_retried_without_its_old_worker(self) -> None:
        submitter = await self.submitted("one")
        queue, other = self.open("alice"), self.open("bob")
        stale = await self.claimed(queue)
        await submitter.cancel("one")
        assert await submitter.retry("one")
        claim = await self.claimed(other)
        with pytest.raises(ClaimLost):
            await queue.resolve(stale, failed("exit-code", "stale"))
        assert await other.resolve(claim, COMPLETED) == "applied"


__all__ = ["RetryChecks"]
