"""What every queue does with claims: granting, keeping and losing them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from taskrunner.errors import ClaimLost, NotSupported
from taskrunner.interfaces.queue import Queue
from taskrunner.model import COMPLETED, Claim, Submission, failed
from taskrunner.testing.conformance.queue_harness import LONG, QueueKit, scenario


class ClaimChecks(QueueKit):
    """Claiming runs."""

    @scenario
    async def test_claim_returns_at_most_n(self) -> None:
        await self.submitted("one", "two", "three")
        queue = self.open()
        first = await queue.claim(2, lease=LONG, wait=self.prompt)
        assert 1 <= len(first) <= 2
        ids = [claim.task_id for claim in first]
        while len(ids) < 3:
            ids += [claim.task_id for claim in await queue.claim(2, lease=LONG, wait=self.prompt)]
        assert sorted(ids) == ["one", "three", "two"]

    @scenario
    async def test_one_task_alone_is_claimed_where_that_is_supported(self) -> None:
        await self.submitted("one", "two")
        alone, queue = self.open(), self.open("bob")
        with suppress(NotSupported):
            alone.claim_only("two")
            assert [claim.task_id for claim in await alone.claim(2, lease=LONG, wait=self.prompt)] == ["two"]
            assert not await alone.claim(1, lease=LONG, wait=self.short)
            assert [claim.task_id for claim in await queue.claim(2, lease=LONG, wait=self.prompt)] == ["one"]

    @scenario
    async def test_claim_waits_and_then_returns_none(self) -> None:
        loop, queue = asyncio.get_running_loop(), self.open()
        began = loop.time()
        assert not await queue.claim(1, lease=LONG, wait=self.short)
        assert loop.time() - began >= self.short * 0.99

    @scenario
    async def test_a_waiting_claim_wakes_when_a_task_is_submitted(self) -> None:
        waiting = asyncio.create_task(self.open().claim(1, lease=LONG, wait=LONG))
        await self.pass_time(self.short)
        await self.submitted("one")
        async with asyncio.timeout(self.prompt):
            [claim] = await waiting
        assert (claim.task_id, claim.run_id, claim.document) == ("one", 0, {"task": "one"})

    @scenario
    async def test_a_claim_is_valid_for_its_lease_at_most(self) -> None:
        await self.submitted("one")
        loop, queue = asyncio.get_running_loop(), self.open()
        await self.pass_time(self.short)
        claim = await self.claimed(queue)
        assert claim.worker_id == "alice"
        assert claim.valid_until is None or claim.valid_until <= loop.time() + LONG
        renewed = await queue.reclaim(claim, lease=LONG)
        assert renewed.valid_until is None or renewed.valid_until <= loop.time() + LONG
        assert renewed.run == claim.run

    @scenario
    async def test_a_cancelled_claim_loses_no_run(self) -> None:
        submitter, queue, other = self.open_submitter(), self.open("alice"), self.open("bob")
        for ticks in range(12):
            waiting = asyncio.create_task(queue.claim(1, lease=LONG, wait=LONG))
            await asyncio.sleep(0)
            await submitter.submit(Submission(f"task-{ticks}", {}))
            for _ in range(ticks):
                await asyncio.sleep(0)
            waiting.cancel()
            claims: Sequence[Claim] = []
            with suppress(asyncio.CancelledError):
                claims = await waiting
            claim = claims[0] if claims else await self.claimed(other)
            assert await (queue if claims else other).resolve(claim, COMPLETED) == "applied"

    @scenario
    async def test_claimers_never_share_a_run(self) -> None:
        ids = [f"task-{i}" for i in range(40)]
        await self.submitted(*ids)
        queues = [self.open("alice"), self.open("bob")]
        got: list[str] = []

        async def slot(queue: Queue) -> None:
            while claims := await queue.claim(3, lease=LONG, wait=self.short):
                for claim in claims:
                    got.append(claim.task_id)
                    assert await queue.resolve(claim, COMPLETED) == "applied"

        await asyncio.gather(*(slot(queue) for queue in queues for _ in range(4)))
        assert sorted(got) == sorted(ids)

    @scenario
    async def test_a_higher_priority_goes_first_and_then_the_older_task(self) -> None:
        queue = self.open()
        if not queue.capabilities.priorities:
            return
        await self.submitted("low-1", "low-2")
        await self.submitted("high", priority=5)
        await self.submitted("lowest", priority=-1)
        order = [(await self.claimed(queue)).task_id for _ in range(4)]
        assert order == ["high", "low-1", "low-2", "lowest"]

    @scenario
    async def test_not_before_is_respected(self) -> None:
        begin = datetime.now(UTC) + timedelta(seconds=self.short)
        await self.submitted("later", not_before=begin)
        queue = self.open()
        if datetime.now(UTC) < begin:
            early = await queue.claim(1, lease=LONG, wait=0)
            assert not early or datetime.now(UTC) >= begin
        claim = await self.claimed(queue)
        assert claim.task_id == "later"
        assert datetime.now(UTC) >= begin


class LeaseChecks(QueueKit):
    """Keeping a run, and losing it."""

    @scenario
    async def test_reclaim_keeps_others_out(self) -> None:
        await self.submitted("one")
        queue, other = self.open("alice"), self.open("bob")
        claim = await self.claimed(queue, self.short)
        for _ in range(6):  # a task may take longer than one lease
            await self.pass_time(self.short * 0.5)
            claim = await queue.reclaim(claim, lease=self.short)
        assert not await other.claim(1, lease=LONG, wait=0)
        assert await queue.resolve(claim, COMPLETED) == "applied"

    @scenario
    async def test_a_reclaim_that_succeeds_after_expiry_holds_the_whole_lease(self) -> None:
        await self.submitted("one")
        queue, other = self.open("alice"), self.open("bob")
        claim = await self.claimed(queue, self.short)
        await self.pass_time(self.short * 1.5)
        try:
            await queue.reclaim(claim, lease=LONG)
        except ClaimLost:
            assert (await self.claimed(other)).task_id == "one"
        else:
            assert not await other.claim(1, lease=LONG, wait=self.short)

    @scenario
    async def test_reclaim_after_takeover_is_refused(self) -> None:
        stale, lost, fresh, claim = await self.taken_over()
        with pytest.raises(ClaimLost):
            await stale.reclaim(lost, lease=LONG)
        assert await fresh.resolve(claim, COMPLETED) == "applied"

    @scenario
    async def test_resolve_after_takeover_is_refused_and_changes_nothing(self) -> None:
        stale, lost, fresh, claim = await self.taken_over()
        with pytest.raises(ClaimLost):
            await stale.resolve(lost, COMPLETED)
        assert await fresh.resolve(claim, failed("exit-code", "the second run")) == "applied"
        status = await self.open_submitter().status("one")
        assert str(status.resolution) == "failed (exit-code)"

    @scenario
    async def test_release_after_takeover_is_refused(self) -> None:
        stale, lost, fresh, claim = await self.taken_over()
        with pytest.raises(ClaimLost):
            await stale.release(lost, delay=0, reason="stale")
        assert await fresh.resolve(claim, COMPLETED) == "applied"

    @scenario
    async def test_a_stale_reclaim_does_not_shorten_the_lease_of_the_new_owner(self) -> None:
        stale, lost, fresh, claim = await self.taken_over()
        with pytest.raises(ClaimLost):
            await stale.reclaim(lost, lease=self.short / 10)
        await self.pass_time(self.short)
        assert not await stale.claim(1, lease=LONG, wait=0)
        assert await fresh.resolve(claim, COMPLETED) == "applied"

    @scenario
    async def test_a_resolution_after_expiry_counts_or_the_task_runs_again(self) -> None:
        await self.submitted("one")
        queue, other = self.open("alice"), self.open("bob")
        claim = await self.claimed(queue, self.short)
        await self.pass_time(self.short * 1.5)
        try:
            await queue.resolve(claim, COMPLETED)
        except ClaimLost:
            assert (await self.claimed(other)).run_id > claim.run_id
        else:
            assert not await other.claim(1, lease=LONG, wait=self.short)

    @scenario
    async def test_run_ids_rise(self) -> None:
        submitter = await self.submitted("one")
        queue = self.open()
        claims = [await self.claimed(queue)]
        await queue.release(claims[-1], delay=0, reason="not here")
        claims.append(await self.claimed(queue, self.short))
        await self.pass_time(self.short * 1.5)
        claims.append(await self.claimed(queue))
        await queue.resolve(claims[-1], COMPLETED)
        assert await submitter.retry("one")
        claims.append(await self.claimed(queue))
        run_ids = [claim.run_id for claim in claims]
        assert run_ids == sorted(set(run_ids))
        assert len({claim.token for claim in claims}) == 4

    @scenario
    async def test_a_claim_is_a_value_that_another_object_can_use(self) -> None:
        await self.submitted("one", "two")
        before = self.open()
        first, second = await self.claimed(before), await self.claimed(before)
        after = self.open()  # a worker that was restarted, and has read its journal
        assert await after.release(first, delay=0, reason="worker-shutdown") == 0
        assert await after.resolve(await after.reclaim(second, lease=LONG), COMPLETED) == "applied"
        assert (await self.claimed(self.open("bob"))).task_id == first.task_id
