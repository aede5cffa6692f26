"""What every queue does with a run that is held: keeping it, and losing it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import attrs
import pytest

from taskrunner.errors import ClaimLost
from taskrunner.model import COMPLETED, failed
from taskrunner.testing.conformance.queue.harness import LONG, QueueKit, scenario


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

    @scenario
    async def test_a_claim_is_valid_for_its_lease_at_most(self) -> None:
        await self.submitted("one")
        loop, queue = asyncio.get_running_loop(), self.open()
        await self.pass_time(self.short)
        claim = await self.claimed(queue)
        assert claim.worker_id == "alice"
        most = queue.capabilities.lease or LONG
        for granted in (claim, await queue.reclaim(claim, lease=LONG)):
            assert granted.run == claim.run
            assert granted.document == claim.document
            assert granted.worker_id == claim.worker_id
            assert granted.valid_until is None or loop.time() < granted.valid_until <= loop.time() + most
            assert granted.taken_until is None or granted.taken_until.utcoffset() == timedelta(0)

    @scenario
    async def test_the_proof_of_another_claim_proves_nothing(self) -> None:
        await self.submitted("one", "two")
        queue = self.open()
        first, second = await self.claimed(queue), await self.claimed(queue)
        forged = attrs.evolve(first, token=second.token)
        with pytest.raises(ClaimLost):
            await queue.reclaim(forged, lease=LONG)
        with pytest.raises(ClaimLost):
            await queue.resolve(forged, failed("exit-code", "forged"))
        with pytest.raises(ClaimLost):
            await queue.release(forged, delay=0, reason="forged")
        assert [await queue.resolve(claim, COMPLETED) for claim in (first, second)] == ["applied", "applied"]

    @scenario
    async def test_a_repeated_release_takes_the_run_from_nobody(self) -> None:
        await self.submitted("one")
        queue, other = self.open("alice"), self.open("bob")
        claim = await self.claimed(queue)
        await queue.release(claim, delay=0, reason="not here")
        again = await self.claimed(other)
        with suppress(ClaimLost):
            await queue.release(claim, delay=0, reason="not here")
        assert not await queue.claim(1, lease=LONG, wait=0)
        assert await other.resolve(again, COMPLETED) == "applied"

    @scenario
    async def test_claims_outlive_the_queue_object_that_was_closed(self) -> None:
        await self.submitted("one")
        before = self.open()
        claim = await self.claimed(before)
        for _ in range(2):
            await before.close()
        after = self.open()
        assert not await self.open("bob").claim(1, lease=LONG, wait=0)
        assert await after.resolve(claim, COMPLETED) == "applied"


__all__ = ["LeaseChecks"]
