"""A plug that hangs, and even ignores its cancellation, does not stop a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from taskrunner import Config, MemoryQueue, StopCondition, Submission, run_worker
from taskrunner.errors import Unavailable
from taskrunner.interfaces.host import Leave
from taskrunner.interfaces.log import LogOrigin
from taskrunner.interfaces.platform import Platform, PlatformContext
from taskrunner.interfaces.queue import Queue
from taskrunner.model import Claim, Health, Notice
from taskrunner.testing import FakeHost, FakePlatform, clock
from tests.support.forwarding_queue import ForwardingQueue
from tests.test_bounded import ignore_cancellation
from tests.worker.conftest import World
from tests.worker.test_crash_recovery import die_running

FOREVER = 1e6  # seconds


def replace_methods(world: World, **members: Any) -> None:
    """Replaces methods of the platform."""
    plug = world.platform.plugin()
    world.platform.plugin = lambda: type("Hanging", (plug,), members)  # type: ignore[method-assign]


def test_a_health_check_that_hangs_pauses_the_worker_until_it_answers(world: World) -> None:
    hangs = [False]

    async def health(self: Platform) -> Health:
        if hangs[0]:
            await ignore_cancellation(600)
        return Health(fit=True)

    async def scene() -> None:
        await world.submit("first")
        await asyncio.sleep(1)
        hangs[0] = True
        await asyncio.sleep(60)
        assert world.worker.machine.at == "paused"
        assert world.worker.load.pause == "the health check of the fake platform has not answered for 10 s"
        hangs[0] = False
        await world.submit("second")
        await world.ended("second")

    replace_methods(world, health=health)
    world.run(scene)
    assert world.seen.endings["second/0"].kind == "completed"
    hanging = [warning for warning in world.seen.warnings if "does not end" in warning]
    assert len(hanging) == 1, "no other check is begun beside one that hangs"


def test_an_idle_worker_on_an_unfit_machine_is_paused(world: World) -> None:
    async def scene() -> None:
        await world.submit("t")
        await asyncio.sleep(1)
        world.platform.current_health = Health(fit=False, why="the disk is full")
        await asyncio.sleep(30)
        assert (world.worker.machine.at, world.worker.load.busy) == ("paused", 0)
        world.platform.current_health = Health(fit=False, why="no inodes")
        await asyncio.sleep(10)
        assert world.worker.load.pause == "no inodes"
        assert world.seen.worker == ["claiming", "running", "claiming", "paused"], "it does not claim in between"
        world.platform.current_health = Health(fit=True)
        await asyncio.sleep(10)
        assert world.worker.machine.at == "claiming"
        world.host.leave()

    world.run(scene)


class HangingClaim(ForwardingQueue):
    """A queue whose first claim ignores its cancellation, and is granted late."""

    late = 600.0
    asked = 0

    def __init__(self, inner: Queue) -> None:
        super().__init__(inner)
        self.granted: list[str] = []

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        self.asked += 1
        if self.asked > 1:
            return await self.inner.claim(n, lease=lease, wait=wait)
        await ignore_cancellation(self.late)
        claims = await self.inner.claim(n, lease=lease, wait=0)
        self.granted += [claim.task_id for claim in claims]
        return claims


def test_a_hanging_claim_is_sent_again_and_its_late_runs_are_handed_back(world: World) -> None:
    async def scene() -> None:
        await asyncio.sleep(300)
        assert any("a claim has not been answered within 80 s" in warning for warning in world.seen.warnings)
        await world.submit("now")
        await asyncio.sleep(10)
        assert (await world.queue.status("now")).state == "resolved"
        world.worker.shutdown(immediate=False, why="no more claims")
        await world.submit("late")
        await asyncio.sleep(295)
        assert queues[0].granted == ["late"]
        assert (await world.queue.status("late")).state == "pending", "without waiting for the lease to end"

    queues: list[HangingClaim] = []

    def wrap(queue: Queue) -> Queue:
        queues.append(HangingClaim(queue))
        return queues[0]

    world.run(scene, wrap=wrap)


def test_a_hanging_claim_does_not_delay_the_shutdown(world: World) -> None:
    async def scene() -> None:
        await asyncio.sleep(10)
        world.host.leave(why="SIGTERM")
        await asyncio.sleep(60)
        assert world.worker.machine.over

    world.run(scene, wrap=HangingClaim)


def test_a_hanging_reclaim_loses_the_claim_when_its_lease_ends(world: World) -> None:
    class Hanging(ForwardingQueue):
        async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
            await ignore_cancellation(FOREVER)
            return claim

    async def scene() -> None:
        await world.submit("t", run_for=6000, max_run_time=86400)
        await asyncio.sleep(59)
        assert "t/0 reclaim_failed" not in world.seen.moves
        await asyncio.sleep(10)
        assert "t/0 reclaim_failed" in world.seen.moves
        world.host.leave(immediate=True)

    world.run(scene, wrap=Hanging)


def test_a_hanging_release_does_not_delay_the_shutdown(world: World) -> None:
    class Hanging(ForwardingQueue):
        async def release(self, claim: Claim, *, delay: float, reason: str, message: str = "") -> float:
            await ignore_cancellation(FOREVER)
            return 0

    async def scene() -> None:
        await world.submit("t")
        (world.home / "runs").write_text("no folder")
        await asyncio.sleep(60)
        world.host.leave()
        await asyncio.sleep(120)
        assert world.worker.machine.over

    world.run(scene, wrap=Hanging)


def test_a_hanging_clean_up_is_a_warning_and_the_worker_goes_on(world: World) -> None:
    async def clean_up_after(self: Platform, worker_id: str) -> list[str]:
        await ignore_cancellation(FOREVER)
        return []

    async def scene() -> None:
        await world.submit("left")
        await die_running(world)
        await world.submit("t")
        await asyncio.sleep(300)
        assert (await world.queue.status("t")).state == "resolved"
        world.host.leave()

    replace_methods(world, clean_up_after=clean_up_after)
    world.run(scene)
    assert any("cannot be removed now: cleaning up after worker dead" in warning for warning in world.seen.warnings)


def test_a_platform_that_hangs_while_it_opens_ends_the_run(world: World) -> None:
    async def opens(cls: type, options: object, context: PlatformContext) -> Any:
        await ignore_cancellation(FOREVER)

    async def scene() -> None:
        await world.submit("t")
        status = await world.ended("t")
        assert str(status.resolution) == "exception (resource-unavailable)"
        assert "the fake platform did not open within 60 s" in world.log()

    replace_methods(world, open=classmethod(opens))
    world.run(scene)


def test_a_hanging_stop_condition_stops_the_worker_in_order(world: World) -> None:
    async def over() -> str:
        await ignore_cancellation(FOREVER)
        return ""

    world.run(stop_when=StopCondition(over=over))
    assert world.worker.load.broken
    assert "asking whether the worker is done took longer than 60 s" in world.worker.load.why


def test_host_and_notices_that_ignore_their_cancellation_do_not_delay_the_end(world: World) -> None:
    class HangingHost(FakeHost):
        async def shutting_down(self) -> Leave:
            await ignore_cancellation(FOREVER)
            raise AssertionError

    class Hanging(ForwardingQueue):
        async def notices(self) -> AsyncIterator[Notice]:
            await ignore_cancellation(FOREVER)
            raise AssertionError

    async def scene() -> None:
        await asyncio.sleep(10)
        world.worker.shutdown(immediate=False, why="the test says so")
        await asyncio.sleep(30)
        assert world.worker.machine.over

    world.host = HangingHost()
    world.run(scene, wrap=Hanging)


def test_a_log_reader_that_ignores_its_cancellation_does_not_delay_the_resolution(world: World) -> None:
    class Hanging(ForwardingQueue):
        async def append_log(self, claim: Claim, offset: int, chunk: bytes, origin: LogOrigin | None = None) -> None:
            await ignore_cancellation(FOREVER)

    async def scene() -> None:
        await world.submit("t")
        await asyncio.sleep(90)
        assert (await world.queue.status("t")).state == "resolved"
        world.host.leave()

    world.run(scene, wrap=Hanging)


@pytest.mark.parametrize("what", ["platform", "queue"])
def test_a_plug_that_hangs_at_its_close_does_not_stop_the_worker_from_ending(world: World, what: str) -> None:
    class Hanging(MemoryQueue):
        async def close(self) -> None:
            await ignore_cancellation(FOREVER if what == "queue" else 0)

    async def dispose(self: Platform) -> None:
        await ignore_cancellation(FOREVER if what == "platform" else 0)

    async def main() -> float:
        queue = MemoryQueue("me")
        await queue.submit(Submission("t", {"platform": "fake"}))
        platform = type("Hanging", (FakePlatform().plugin(),), {"dispose": dispose})
        joined = queue.join("w1")
        joined.close = Hanging.close.__get__(joined)  # type: ignore[method-assign]
        began = asyncio.get_running_loop().time()
        await run_worker(
            Config(min_free_disk=0), FakeHost(), world.home, stop_when=StopCondition(tasks=1),
            queue=lambda _: joined, plugins={"fake": platform}, observer=world.seen,
        )  # fmt: skip
        return asyncio.get_running_loop().time() - began

    assert clock.run(main()) < 60
    assert any(f"closing the {'fake platform' if what == 'platform' else 'queue'}" in w for w in world.seen.warnings)


def test_a_run_that_an_unavailable_queue_cannot_take_back_waits_for_its_lease(world: World) -> None:
    class Down(ForwardingQueue):
        async def release(self, claim: Claim, *, delay: float, reason: str, message: str = "") -> float:
            raise Unavailable("no route to host")

    async def scene() -> None:
        await world.submit("t")
        (world.home / "runs").write_text("no folder")
        await asyncio.sleep(30)
        world.host.leave()

    world.run(scene, wrap=Down)
    assert any("t/0 cannot be begun" in warning for warning in world.seen.warnings)
    assert not world.worker.load.broken
