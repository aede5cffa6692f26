"""What every queue does when it grants runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from taskrunner.errors import NotSupported
from taskrunner.interfaces.queue import Queue
from taskrunner.model import COMPLETED, Claim, Document, Submission
from taskrunner.testing.conformance.queue.harness import LONG, QueueKit, scenario

DOCUMENT: Document = {
    "text": "grün ☃ \n\t\"'", "numbers": [0, -1, 2**53, 0.5, 1e300], "nothing": None, "truth": [True, False],
    "nested": {"": [], "empty": {}, "1": {"deep": ["list", {"a": "b"}]}},
}  # fmt: skip
"""Every kind of JSON value."""


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

    @scenario
    async def test_one_call_grants_no_more_than_the_queue_says(self) -> None:
        queue = self.open()
        most = queue.capabilities.max_claim
        await self.submitted(*(f"task-{number}" for number in range(most + 1)))
        assert 1 <= len(await queue.claim(most + 1, lease=LONG, wait=self.prompt)) <= most

    @scenario
    async def test_a_document_arrives_as_it_was_submitted(self) -> None:
        await self.open_submitter().submit(Submission("one", DOCUMENT))
        claim = await self.claimed(self.open())
        assert json.dumps(claim.document, sort_keys=True) == json.dumps(DOCUMENT, sort_keys=True)


__all__ = ["ClaimChecks"]
