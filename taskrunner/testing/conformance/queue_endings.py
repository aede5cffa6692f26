"""What every queue does at the end of a run and of a task, and how it reports them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from taskrunner.errors import ClaimLost, Conflict, MalformedPayload, NotSupported, UnknownTask
from taskrunner.model import COMPLETED, RETRIED, Claim, Notice, Submission, TaskStatus, exception, failed
from taskrunner.testing.conformance.queue_harness import LONG, QueueKit, scenario


class EndingChecks(QueueKit):
    """Resolving and releasing."""

    @scenario
    async def test_resolving_again_the_same_way_is_already_so(self) -> None:
        await self.submitted("one")
        queue = self.open()
        claim = await self.claimed(queue)
        assert await queue.resolve(claim, failed("exit-code", "it returned 1")) == "applied"
        assert await queue.resolve(claim, failed("exit-code", "in other words")) == "already-so"

    @scenario
    async def test_resolving_again_another_way_is_a_conflict(self) -> None:
        await self.submitted("one")
        queue = self.open()
        claim = await self.claimed(queue)
        await queue.resolve(claim, COMPLETED)
        with pytest.raises(Conflict):
            await queue.resolve(claim, failed("exit-code", "it returned 1"))
        assert (await self.open_submitter().status("one")).resolution == COMPLETED

    @scenario
    async def test_reclaim_and_release_can_be_repeated_when_a_reply_was_lost(self) -> None:
        await self.submitted("one")
        queue = self.open()
        claim = await self.claimed(queue)
        again = [await queue.reclaim(claim, lease=LONG) for _ in range(2)]
        assert again[0].run == again[1].run
        for _ in range(2):
            await queue.release(claim, delay=0, reason="not here")
        assert (await self.claimed(queue)).task_id == "one"
        assert not await queue.claim(1, lease=LONG, wait=0)

    @scenario
    async def test_a_claim_that_was_resolved_cannot_be_used(self) -> None:
        await self.submitted("one")
        queue = self.open()
        claim = await self.claimed(queue)
        await queue.resolve(claim, COMPLETED)
        with pytest.raises(ClaimLost):
            await queue.reclaim(claim, lease=LONG)
        with pytest.raises(ClaimLost):
            await queue.release(claim, delay=0, reason="too late")

    @scenario
    async def test_a_released_run_comes_back_after_its_delay_and_costs_no_retry(self) -> None:
        await self.submitted("one", retries=0)
        loop, queue = asyncio.get_running_loop(), self.open()
        claim = await self.claimed(queue)
        began = loop.time()
        kept = await queue.release(claim, delay=self.short, reason="not here")
        assert kept <= self.short
        with pytest.raises(ClaimLost):
            await queue.resolve(claim, COMPLETED)
        again = await self.claimed(queue)
        assert loop.time() - began >= kept * 0.99
        assert await queue.resolve(again, COMPLETED) == "applied"

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
    async def test_appending_to_a_log_without_a_reader_never_blocks(self) -> None:
        await self.submitted("one")
        queue = self.open()
        claim = await self.claimed(queue)
        async with asyncio.timeout(self.prompt):
            for number in range(200):
                await queue.append_log(claim, number * 65536, bytes(65536))


class SubmitChecks(QueueKit):
    """What a submitter can do."""

    @scenario
    async def test_submitting_the_same_again_changes_nothing(self) -> None:
        submitter = await self.submitted("one")
        assert not await submitter.submit(Submission("one", {"task": "one"}))
        queue = self.open()
        await queue.resolve(await self.claimed(queue), COMPLETED)
        assert not await submitter.submit(Submission("one", {"task": "one"}))  # however long ago it was
        assert not await queue.claim(1, lease=LONG, wait=self.short)

    @scenario
    async def test_submitting_something_else_by_the_same_id_is_a_conflict(self) -> None:
        submitter = await self.submitted("one")
        with pytest.raises(Conflict):
            await submitter.submit(Submission("one", {"task": "another"}))
        assert (await self.claimed(self.open())).document == {"task": "one"}

    @scenario
    async def test_a_document_that_is_too_large_is_refused(self) -> None:
        submitter = self.open_submitter()
        with pytest.raises(MalformedPayload) as refused:
            await submitter.submit(Submission("huge", {"text": "x" * self.max_document}))
        assert str(self.max_document) in str(refused.value)
        with pytest.raises(UnknownTask):
            await submitter.status("huge")

    @scenario
    async def test_an_unknown_task_is_an_error_in_every_call(self) -> None:
        submitter = self.open_submitter()
        for call in (submitter.status, submitter.cancel, submitter.retry):
            with pytest.raises(UnknownTask):
                await call("unknown")
        with pytest.raises(UnknownTask):
            await anext(submitter.watch("unknown"))

    @scenario
    async def test_a_status_lists_every_run(self) -> None:
        submitter = await self.submitted("one", priority=3, retries=4)
        queue = self.open()
        await queue.release(await self.claimed(queue), delay=0, reason="not here")
        await queue.resolve(await self.claimed(queue), COMPLETED)
        status = await submitter.status("one")
        assert status.submission == Submission("one", {"task": "one"}, priority=3, retries=4)
        assert [run.worker_id for run in status.runs] == ["alice", "alice"]
        assert all(run.resolved and run.resolved >= run.started >= status.submitted for run in status.runs)
        assert status.runs[-1].resolution == status.resolution == COMPLETED

    @scenario
    async def test_a_watcher_sees_the_task_change_until_it_is_resolved(self) -> None:
        submitter = await self.submitted("one")
        queue, seen, held = self.open(), list[TaskStatus](), list[Claim]()
        async with asyncio.timeout(LONG):
            async for status in submitter.watch("one"):
                seen.append(status)
                if status.state == "pending":
                    held.append(await self.claimed(queue))
                elif status.state == "running":
                    await queue.resolve(held[0], COMPLETED)
        assert [status.state for status in seen] == ["pending", "running", "resolved"]

    @scenario
    async def test_tasks_are_listed_newest_first(self) -> None:
        submitter = await self.submitted("one", "two", "three")
        with suppress(NotSupported):
            assert [status.task_id async for status in submitter.list(limit=2)] == ["three", "two"]

    @scenario
    async def test_tasks_that_could_be_claimed_are_counted(self) -> None:
        submitter = await self.submitted("one", "two", "three")
        await self.submitted("next-year", not_before=datetime.now(UTC) + timedelta(days=365))
        queue = self.open()
        await queue.release(await self.claimed(queue), delay=LONG, reason="not here")
        await self.claimed(queue)
        with suppress(NotSupported):
            assert await submitter.pending() == 2

    @scenario
    async def test_a_retried_task_runs_again_with_all_its_retries(self) -> None:
        submitter = await self.submitted("one", retries=1)
        queue = self.open()
        assert not await submitter.retry("one")
        await queue.resolve(await self.claimed(queue), failed("exit-code", "it returned 1"))
        assert await submitter.retry("one")
        await queue.resolve(await self.claimed(queue), exception("worker-shutdown", "first"))
        await queue.resolve(await self.claimed(queue), COMPLETED)
        assert (await submitter.status("one")).resolution == COMPLETED

    @scenario
    async def test_a_task_that_is_not_claimed_before_its_deadline_is_resolved(self) -> None:
        submitter = await self.submitted("one", deadline=datetime.now(UTC) + timedelta(seconds=self.short))
        await self.pass_time(self.short * 1.5)
        assert not await self.open().claim(1, lease=LONG, wait=0)
        status = await submitter.status("one")
        assert str(status.resolution) == "exception (deadline-exceeded)"
        assert not status.runs


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
        notices, other_notices = queue.notices(), other.notices()
        await submitter.cancel(mine.task_id, "not wanted")
        await submitter.cancel(theirs.task_id)
        async with asyncio.timeout(self.prompt):
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
