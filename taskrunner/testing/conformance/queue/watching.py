"""What every queue reports about its tasks: the status, the list, and how both change."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from taskrunner.errors import NotSupported, UnknownTask
from taskrunner.model import COMPLETED, Claim, Submission, TaskStatus
from taskrunner.testing.conformance.queue.harness import LONG, QueueKit, scenario


class StatusChecks(QueueKit):
    """Status, list and count."""

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
    async def test_a_worker_knows_other_tasks_as_their_submitter_does(self) -> None:
        """Or it knows none: then no task of this queue can name another one."""
        submitter, queue = await self.submitted("one"), self.open()
        await queue.resolve(await self.claimed(queue), COMPLETED)
        with suppress(NotSupported):
            seen, told = await queue.status("one"), await submitter.status("one")
            assert (seen.task_id, seen.state, seen.resolution) == (told.task_id, told.state, told.resolution)
            assert [(run.run_id, run.resolution) for run in seen.runs] == [(0, COMPLETED)]
            with pytest.raises(UnknownTask):
                await queue.status("unknown")

    @scenario
    async def test_a_watcher_sees_the_task_change_until_it_is_resolved(self) -> None:
        submitter = await self.submitted("one")
        queue, seen, held = self.open(), list[TaskStatus](), list[Claim]()
        async with self.within(LONG):
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
    async def test_ids_are_found_by_their_beginning(self) -> None:
        submitter = await self.submitted("web-2", "web-1", "a-web-3", "Web-4")
        with suppress(NotSupported):
            assert list(await submitter.matching("web-")) == ["web-1", "web-2"]
            assert list(await submitter.matching("web-", limit=1)) == ["web-1"]
            assert list(await submitter.matching("web-2")) == ["web-2"]
            for text in ("", "web-3", "w*", "w%", "web_"):
                assert not list(await submitter.matching(text)), f"{text!r} begins no id that was submitted"

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
    async def test_a_status_follows_its_task(self) -> None:
        submitter = await self.submitted("one")
        queue, other = self.open("alice"), self.open("bob")
        status = await submitter.status("one")
        assert (status.task_id, status.state, status.runs, status.resolution) == ("one", "pending", (), None)
        assert status.submitted.utcoffset() == timedelta(0)
        claim = await self.claimed(queue)
        [run] = (await submitter.status("one")).runs
        assert (run.run_id, run.worker_id, run.resolved, run.resolution) == (claim.run_id, "alice", None, None)
        assert run.started.utcoffset() == timedelta(0)
        assert (await submitter.status("one")).state == "running"
        await queue.release(claim, delay=0, reason="not here")
        assert (await submitter.status("one")).state == "pending"
        await self.claimed(other)
        status = await submitter.status("one")
        assert (status.state, status.resolution) == ("running", None)
        assert [run.worker_id for run in status.runs] == ["alice", "bob"]

    @scenario
    async def test_what_was_resolved_is_not_counted(self) -> None:
        submitter = await self.submitted("one", "two")
        queue = self.open()
        await queue.resolve(await self.claimed(queue), COMPLETED)
        await submitter.cancel("two")
        with suppress(NotSupported):
            assert await submitter.pending() == 0

    @scenario
    async def test_a_watcher_of_a_resolved_task_sees_it_once(self) -> None:
        submitter = await self.submitted("one")
        await submitter.cancel("one", "not needed")
        async with self.within(LONG):
            seen = [status async for status in submitter.watch("one")]
        assert seen == [await submitter.status("one")]

    @scenario
    async def test_a_watcher_sees_a_cancellation(self) -> None:
        submitter = await self.submitted("one")
        seen = list[TaskStatus]()

        async def watch() -> None:
            async for status in submitter.watch("one"):
                seen.append(status)

        watching = asyncio.create_task(watch())
        await self.pass_time(self.short)
        await self.open_submitter().cancel("one")
        async with self.within(self.prompt):
            await watching
        assert [status.state for status in seen] == ["pending", "resolved"]

    @scenario
    async def test_tasks_that_ended_are_forgotten_and_no_others(self) -> None:
        await self.submitted("ended", "running", "pending")
        queue, submitter = self.open(), self.open_submitter()
        now = datetime.now(UTC)
        try:
            assert await submitter.forget(now - timedelta(days=1)) == 0
        except NotSupported:
            return
        await queue.resolve(await self.claimed(queue), COMPLETED)
        held = await self.claimed(queue)
        assert await submitter.forget(now - timedelta(days=1)) == 0
        assert await submitter.forget(now + timedelta(days=1), dry_run=True) == 1
        assert (await submitter.status("ended")).state == "resolved"
        assert await submitter.forget(now + timedelta(days=1)) == 1
        assert await submitter.forget(now + timedelta(days=1)) == 0
        with pytest.raises(UnknownTask):
            await submitter.status("ended")
        assert [(await submitter.status(task_id)).state for task_id in ("running", "pending")] == ["running", "pending"]
        await queue.resolve(held, COMPLETED)
        assert await submitter.submit(Submission("ended", {"id": "ended"}))


__all__ = ["StatusChecks"]
