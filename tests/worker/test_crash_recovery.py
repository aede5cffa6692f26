"""Crash recovery: a worker, and a dead one on the same home."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import pytest

from taskrunner.errors import ClaimLost, TaskFailedInternally, Unavailable
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.platform import PlatformContext, RunContext
from taskrunner.interfaces.push import ArtifactStream
from taskrunner.interfaces.queue import Applied, HeldClaim, Queue
from taskrunner.model import Artifact, Claim, Resolution, RunKey, Task, exception
from taskrunner.runs.run_record import RunRecord
from taskrunner.state.journal import Journal
from taskrunner.state.journal_reader import left_behind, read_journal
from taskrunner.state.leftovers import leftovers
from taskrunner.state.run_folder import RunFolder
from taskrunner.state.worker_lock import WorkerLock, dead_workers, note_platform
from taskrunner.testing import FakeCaches, FakeHost, FakePayload, FakePlatform, MemoryLog, MemoryStore
from tests.support.forwarding_queue import ForwardingQueue
from tests.worker.conftest import World, reveal


async def die_running(world: World, task_id: str = "t", lease: float = 3600) -> Claim:
    """A worker of the same home claims a task, begins it, and is killed."""
    lock = WorkerLock(world.home, "dead")
    [claim] = await world.queue.join("dead").claim(1, lease=lease, wait=0)
    record = RunRecord(RunFolder(world.home, claim.run), claim)
    record.log.write(b"half a line")
    record.folder.work.mkdir()
    (record.folder.work / "made.txt").write_text("half done")
    context = PlatformContext(worker_id="dead", home=world.home, reveal=reveal)
    platform = await world.platform.plugin().open(world.platform.options(), context)
    await _start(world, platform, claim)
    os.close(lock._file)  # the kernel does the same for a killed process
    return claim


async def _start(world: World, platform: FakePlatform, claim: Claim) -> None:
    context = RunContext(
        task=Task(id=claim.task_id, platform="fake"),
        run=claim.run,
        folder=world.home / "runs" / claim.task_id / "0" / "work",
        log=MemoryLog(),
        caches=FakeCaches(world.home),
        reveal=reveal,
        progress=lambda _: None,
    )
    engine = await platform.new_engine(context)
    await engine.load(FakePayload(run_for=7200))
    await engine.start({})


def test_the_resources_of_a_dead_worker_are_removed_and_its_task_runs_again_at_once(world: World) -> None:
    async def scene() -> None:
        await world.submit("t", run_for=5)
        await die_running(world)
        assert world.platform.alive
        status = await world.ended("t")
        assert str(status.resolution) == "completed"
        assert [str(run.resolution) for run in status.runs] == ["exception (worker-shutdown)", "completed"]

    world.run(scene)
    assert world.is_clean()
    assert dead_workers(world.home) == []
    assert "worker dead died" in world.log("t", 0).splitlines()[-1]
    assert world.visits("t", 0)[-1] == ("resolved", "worker_died")
    assert any("was handed back" in warning for warning in world.seen.warnings)


def test_the_next_run_begins_after_the_resources_of_the_last_were_removed(world: World) -> None:
    seen: list[tuple[bool, bool]] = []

    class CheckingQueue(ForwardingQueue):
        async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
            if claim.worker_id == "dead":
                seen.append((bool(world.platform.alive), bool(list(world.home.glob("runs/t/0/work")))))
            return await self.inner.resolve(claim, resolution)

    async def scene() -> None:
        await world.submit("t")
        await die_running(world)
        await world.ended("t")

    world.run(scene, wrap=CheckingQueue)
    assert seen == [(False, False)]


def test_an_idle_worker_recovers_from_one_that_dies(world: World) -> None:
    async def scene() -> None:
        lock = WorkerLock(world.home, "dead")
        await asyncio.sleep(100)
        assert (world.home / "workers" / "dead.lock").exists()
        os.close(lock._file)
        await asyncio.sleep(60)
        assert not (world.home / "workers" / "dead.lock").exists()
        world.host.leave()

    world.run(scene)


def test_a_living_worker_is_left_alone(world: World) -> None:
    lock = WorkerLock(world.home, "living")

    async def scene() -> None:
        await asyncio.sleep(300)
        world.host.leave()

    world.run(scene)
    assert (world.home / "workers" / "living.lock").exists()
    lock.release()


def test_the_run_of_a_dead_worker_waits_for_its_lease_while_the_queue_is_unavailable(world: World) -> None:
    class Unreachable(ForwardingQueue):
        async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
            if claim.worker_id == "dead":
                raise Unavailable("no route to host")
            return await self.inner.resolve(claim, resolution)

    async def scene() -> None:
        await world.submit("t")
        await die_running(world)
        await asyncio.sleep(1800)
        assert (await world.queue.status("t")).state == "running"
        assert not world.platform.alive
        status = await world.ended("t")
        assert [str(run.resolution) for run in status.runs] == ["exception (claim-expired)", "completed"]

    world.run(scene, wrap=Unreachable)
    assert RunFolder(world.home, RunKey("t", 0)).journal.exists()


def test_a_run_whose_peer_is_gone_was_not_taken_over(world: World) -> None:
    class Pushed(ForwardingQueue):
        async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
            if claim.worker_id == "dead":
                raise ClaimLost("disconnected", "no peer waits for this run")
            return await self.inner.resolve(claim, resolution)

    async def scene() -> None:
        await world.submit("t")
        await die_running(world, lease=60)
        await world.ended("t")

    world.run(scene, wrap=Pushed)
    assert "run t/0 of worker dead, which died, ended with its peer" in world.seen.warnings


@pytest.mark.parametrize("ending", ["taken", "refused", "never taken", "too late"])
def test_the_log_of_a_dead_workers_run_goes_to_a_queue_that_takes_it_late(world: World, ending: str) -> None:
    """Whatever comes of it, the task is run again."""
    sent: list[str] = []

    class Logs(ArtifactStream):
        async def put_log(self, run: RunKey, spool: Path) -> None:
            if run.run_id:
                return
            sent.append(spool.read_text())  # noqa: ASYNC240  a small file
            if ending == "refused":
                raise TaskFailedInternally("no")
            if ending == "never taken":
                await asyncio.Event().wait()
            if ending == "too late":
                raise ClaimLost("resolved", "it had been completed")

        async def put(self, run: RunKey, name: str, body: object, **about: object) -> Artifact:
            raise AssertionError(name)

    class Late(ForwardingQueue):
        def __init__(self, inner: Queue) -> None:
            super().__init__(inner)
            self.capabilities = attrs.evolve(inner.capabilities, late_artifacts=True)

        def artifacts(self, held: HeldClaim) -> ArtifactStore:
            return Logs()

    async def scene() -> None:
        await world.submit("t")
        await die_running(world)
        assert str((await world.ended("t")).resolution) == "completed"

    world.run(scene, wrap=Late)
    [log] = sent
    assert log.startswith("half a line")
    assert "worker dead died" in log.splitlines()[-1]
    told = any("is on this machine only" in warning for warning in world.seen.warnings)
    assert told == (ending in {"refused", "never taken"})


def test_a_recovery_that_fails_is_tried_again(world: World) -> None:
    down, plug = [True], world.platform.plugin()

    class DownPlatform(plug):  # type: ignore[misc,valid-type]
        async def clean_up_after(self, worker_id: str) -> list[str]:
            if down:
                raise Unavailable("the engine is not running")
            return list(await super().clean_up_after(worker_id))

    world.platform.plugin = lambda: DownPlatform  # type: ignore[method-assign]

    async def scene() -> None:
        await world.submit("t")
        await die_running(world)
        await asyncio.sleep(600)
        assert (await world.queue.status("t")).state == "running"
        assert world.platform.alive
        down.clear()
        assert str((await world.ended("t")).resolution) == "completed"

    world.run(scene)
    assert sum("cannot be removed now: the engine is not running" in text for text in world.seen.warnings) == 1
    assert world.is_clean()


def test_a_claim_is_renewed_during_crash_recovery(world: World) -> None:
    reclaimed, plug = asyncio.Event(), world.platform.plugin()

    class Slow(plug):  # type: ignore[misc,valid-type]
        async def clean_up_after(self, worker_id: str) -> list[str]:
            await reclaimed.wait()
            return list(await super().clean_up_after(worker_id))

    class RecordingQueue(ForwardingQueue):
        async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
            kept = await self.inner.reclaim(claim, lease=lease)
            reclaimed.set()
            return kept

    world.platform.plugin = lambda: Slow  # type: ignore[method-assign]

    async def scene() -> None:
        await world.submit("other")
        await world.submit("t")
        other = await die_running(world, "other")
        assert other.task_id == "other"
        await world.queue.release(other, delay=3600, reason="test")
        [first] = await world.queue.join("living").claim(1, lease=3600, wait=0)
        await asyncio.sleep(15)
        await world.queue.resolve(first, exception("worker-shutdown", "it had to go"))
        assert str((await world.ended("t")).resolution) == "completed"

    world.run(scene, wrap=RecordingQueue)


def test_a_retried_run_waits_until_the_last_one_was_removed(world: World) -> None:
    """The lease of a dead worker ends between two searches, while its run may still be alive on this machine."""

    async def scene() -> None:
        await asyncio.sleep(1)
        await world.submit("t", run_for=60)
        await die_running(world, lease=5)
        await asyncio.sleep(7)
        assert world.platform.alive == ["t/1 execution"]
        await world.ended("t")

    world.run(scene, wrap=LateQueue)


class LateQueue(ForwardingQueue):
    """Claims two seconds late, so that the worker that dies gets the first claim."""

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        await asyncio.sleep(2)
        return await self.inner.claim(n, lease=lease, wait=wait)


def test_what_a_run_could_not_remove_is_listed_and_removed_by_the_living_worker(world: World) -> None:
    stuck, plug = [True], world.platform.plugin()

    class Stuck(plug):  # type: ignore[misc,valid-type]
        async def clean_up_run(self, worker_id: str, run: RunKey) -> list[str]:
            if stuck:
                raise Unavailable("the engine is not running")
            return list(await super().clean_up_run(worker_id, run))

    world.platform.plugin = lambda: Stuck  # type: ignore[method-assign]

    async def scene() -> None:
        await world.submit("t", fail_at="dispose")
        await until(lambda: leftovers(world.home) != [])
        await world.submit("busy", run_for=3600)
        await asyncio.sleep(100)
        [left] = leftovers(world.home)
        assert (left.run, left.platform, left.problems) == (RunKey("t", 0), "fake", ("the engine is not running",))
        assert left.tries > 5
        assert world.platform.alive == ["t/0 results", "busy/0 execution"]
        stuck.clear()
        await until(lambda: leftovers(world.home) == [])
        assert world.platform.alive == ["busy/0 execution"]
        world.host.leave(immediate=True)

    world.run(scene)
    assert left_behind(read_journal(RunFolder(world.home, RunKey("t", 0)).journal)) == (
        "the results: the script says so, at dispose",
    )
    assert sum("the engine is not running" in text for text in world.seen.warnings) == 1
    assert any("nothing is left any more by run t/0: t/0: removed its results" in w for w in world.seen.warnings)


def test_the_next_worker_removes_what_one_that_ended_in_order_has_left(world: World) -> None:
    asked, plug = list[tuple[str, RunKey]](), world.platform.plugin()

    class Asked(plug):  # type: ignore[misc,valid-type]
        async def clean_up_run(self, worker_id: str, run: RunKey) -> list[str]:
            asked.append((worker_id, run))
            if len(asked) == 1:
                raise ZeroDivisionError("a bug of a plug")
            return []

    async def leave() -> None:
        await world.submit("t", fail_at="dispose")
        await until(lambda: leftovers(world.home) != [])
        world.host.leave()

    world.run(leave)
    asked.clear()
    world.platform.plugin, world.host = lambda: Asked, FakeHost()  # type: ignore[method-assign]

    async def next_one() -> None:
        await until(lambda: leftovers(world.home) == [])
        world.host.leave()

    world.run(next_one)
    assert asked == 2 * [("w1", RunKey("t", 0))]


def test_a_dead_worker_whose_runs_were_all_closed_is_swept(world: World) -> None:
    async def scene() -> None:
        await world.submit("t", run_for=5)
        claim = await die_running(world)
        note_platform(world.home, "dead", "fake")
        journal = Journal.reopen(RunFolder(world.home, claim.run))
        journal.moved("resolved", "cleaned")
        journal.close()
        await until(lambda: world.platform.alive == [])
        world.host.leave()

    world.run(scene)
    assert dead_workers(world.home) == []
    assert list((world.home / "workers").glob("dead*")) == []


def test_one_platform_that_is_down_does_not_hold_up_the_runs_of_another(world: World) -> None:
    async def scene() -> None:
        await world.submit("t")
        await die_running(world)
        note_platform(world.home, "dead", "gone")
        assert str((await world.ended("t")).resolution) == "completed"

    world.run(scene)
    assert world.platform.alive == []
    [left] = leftovers(world.home)
    assert (left.worker_id, left.run) == ("dead", None)
    assert "has no 'gone' platform" in left.problems[0]
    assert dead_workers(world.home) == ["dead"]


def test_what_killed_uploads_of_a_dead_worker_have_left_is_removed(world: World) -> None:
    discarded: list[RunKey] = []

    class Watched(MemoryStore):
        async def discard_unfinished(self, run: RunKey) -> None:
            discarded.append(run)

    world.store = Watched()

    async def scene() -> None:
        await world.submit("t")
        await die_running(world)
        await world.ended("t")

    world.run(scene)
    assert discarded == [RunKey("t", 0)]


def test_a_list_that_cannot_be_read_does_not_end_the_worker(world: World) -> None:
    (world.home / "leftovers").write_text("a file where the folder should be")

    async def scene() -> None:
        await world.submit("t", run_for=100)
        assert str((await world.ended("t")).resolution) == "completed"

    world.run(scene)
    assert sum("what was left cannot be removed now" in text for text in world.seen.warnings) == 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(3600):
        while not condition():  # noqa: ASYNC110  virtual time
            await asyncio.sleep(1)
