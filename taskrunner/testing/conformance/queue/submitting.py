"""What every queue does with submissions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from taskrunner import limits
from taskrunner.errors import Conflict, MalformedPayload, UnknownTask
from taskrunner.model import COMPLETED, Submission
from taskrunner.testing.conformance.queue.harness import LONG, QueueKit, scenario


class SubmitChecks(QueueKit):
    """Submitting a task, once."""

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
    async def test_the_same_document_in_another_order_is_the_same(self) -> None:
        submitter = self.open_submitter()
        assert await submitter.submit(Submission("one", {"a": 1, "b": {"c": 2, "d": 3}}))
        assert not await submitter.submit(Submission("one", {"b": {"d": 3, "c": 2}, "a": 1}))

    @scenario
    async def test_a_submission_beyond_the_limits_is_refused(self) -> None:
        submitter = self.open_submitter()
        good = Submission("good", {})
        for bad in (
            attrs.evolve(good, task_id="../bad"),
            attrs.evolve(good, task_id=""),
            attrs.evolve(good, priority=limits.MAX_PRIORITY + 1),
            attrs.evolve(good, priority=limits.MIN_PRIORITY - 1),
            attrs.evolve(good, retries=limits.MAX_RETRIES + 1),
            attrs.evolve(good, retries=-1),
        ):
            with pytest.raises(MalformedPayload):
                await submitter.submit(bad)
        assert not await self.open().claim(1, lease=LONG, wait=0)

    @scenario
    async def test_a_task_that_is_not_claimed_before_its_deadline_is_resolved(self) -> None:
        submitter = await self.submitted("one", deadline=datetime.now(UTC) + timedelta(seconds=self.short))
        await self.pass_time(self.short * 1.5)
        assert not await self.open().claim(1, lease=LONG, wait=0)
        status = await submitter.status("one")
        assert str(status.resolution) == "exception (deadline-exceeded)"
        assert not status.runs


__all__ = ["SubmitChecks"]
