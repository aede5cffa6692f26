"""What every queue does at the end of a run: resolving, releasing, the log."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from taskrunner.errors import ClaimLost, Conflict, NotSupported, UnknownTask
from taskrunner.model import COMPLETED, Resolution, failed
from taskrunner.testing.conformance.queue.harness import LONG, QueueKit, scenario

ENDINGS = [
    Resolution("completed", exit_code=0, result={"image": {"id": "sha256:12", "tags": ["a", "b"]}, "bytes": 2**40}),
    Resolution("failed", "exit-code", 'it returned 3:\nsee line 12, "grün"', 3, {"steps": [{"name": "test"}]}),
    Resolution("exception", "malformed-payload", "command: is empty\nimage: is missing"),
]
"""Each with everything that a resolution has."""


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
    async def test_a_resolution_is_kept_whole(self) -> None:
        for number, ending in enumerate(ENDINGS):
            submitter = await self.submitted(f"task-{number}")
            queue = self.open()
            assert await queue.resolve(await self.claimed(queue), ending) == "applied"
            status = await submitter.status(f"task-{number}")
            assert status.resolution == ending
            assert status.runs[-1].resolution == ending

    @scenario
    async def test_a_released_run_comes_back_after_its_delay(self) -> None:
        await self.submitted("one")
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
    async def test_a_long_delay_is_kept_as_far_as_the_queue_says(self) -> None:
        await self.submitted("one")
        queue = self.open()
        most = queue.capabilities.max_release_delay
        kept = await queue.release(await self.claimed(queue), delay=LONG, reason="not here")
        assert kept == LONG if most is None else kept <= most
        if kept > self.short * 2:
            assert not await queue.claim(1, lease=LONG, wait=self.short)


class RunLogChecks(QueueKit):
    """The log on its way to those who watch it."""

    @scenario
    async def test_appending_to_a_log_without_a_reader_never_blocks(self) -> None:
        await self.submitted("one")
        queue = self.open()
        claim = await self.claimed(queue)
        async with self.within(self.prompt):
            for number in range(200):
                await queue.append_log(claim, number * 65536, bytes(65536))

    @scenario
    async def test_a_watched_log_begins_at_its_offset_and_ends_with_its_run(self) -> None:
        submitter = await self.submitted("one")
        queue = self.open()
        claim = await self.claimed(queue)
        for offset, chunk in ((0, b"0123"), (4, b"4567"), (8, b"89")):
            await queue.append_log(claim, offset, chunk)
        await queue.resolve(claim, COMPLETED)
        with suppress(NotSupported):
            for offset in (0, 5):
                log = b"".join([chunk async for chunk in submitter.watch_log("one", claim.run_id, offset)])
                assert log in b"0123456789"[offset:], "a piece may be missing, since that is best effort"
            with pytest.raises(UnknownTask):
                await anext(submitter.watch_log("unknown", 0))

    @scenario
    async def test_a_log_is_watched_to_its_present_end(self) -> None:
        submitter = await self.submitted("one")
        queue = self.open()
        claim = await self.claimed(queue)
        await queue.append_log(claim, 0, b"0123456789")
        with suppress(NotSupported):
            async with self.within(self.prompt):
                watched = submitter.watch_log("one", claim.run_id, 5, follow=False)
                assert b"".join([chunk async for chunk in watched]) in b"56789"


__all__ = ["EndingChecks", "RunLogChecks"]
