"""A worker with several runs: its claims, pauses and ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import attrs
import pytest

from taskrunner.errors import ClaimLost, Unavailable
from taskrunner.interfaces.host import Leave
from taskrunner.interfaces.log import LogOrigin
from taskrunner.interfaces.platform import Platform, PlatformContext
from taskrunner.interfaces.queue import Applied, Queue
from taskrunner.model import Claim, Health, Notice, Resolution
from taskrunner.runs.run import TaskRun
from taskrunner.testing import FakeHost
from taskrunner.worker.stop_condition import StopCondition
from tests.support.forwarding_queue import ForwardingQueue
from tests.worker.conftest import World


def resolutions(world: World, *task_ids: str) -> list[str]:
    return [str(world.seen.endings[f"{task_id}/0"]) for task_id in task_ids]


def test_slots_are_filled_and_used_again(world: World) -> None:
    async def scene() -> None:
        for n in range(7):
            await world.submit(f"t{n}", run_for=60)

    world.run(scene, capacity=3, stop_when=StopCondition(tasks=7))
    assert {str(ending) for ending in world.seen.endings.values()} == {"completed"}
    assert len(world.seen.endings) == 7
    assert "running" in world.seen.worker
    assert world.is_clean()


def test_a_graceful_shutdown_finishes_its_runs_and_claims_no_more(world: World) -> None:
    async def scene() -> None:
        await world.submit("now", run_for=600)
        await asyncio.sleep(60)
        world.host.leave(why="SIGTERM")
        await asyncio.sleep(0)
        await world.submit("later")
        await asyncio.sleep(3600)
        assert (await world.queue.status("later")).state == "pending"

    world.run(scene, capacity=2)
    assert resolutions(world, "now") == ["completed"]
    assert "later/0" not in world.seen.endings
    assert world.seen.worker[-2:] == ["shutting_down", "stopped"]


def test_an_immediate_shutdown_hands_back_its_runs(world: World) -> None:
    async def scene() -> None:
        await world.submit("t", run_for=600)
        await asyncio.sleep(65)
        world.host.leave(immediate=True, why="spot interruption")
        await asyncio.sleep(30)
        status = await world.queue.status("t")
        assert (status.state, len(status.runs)) == ("pending", 1)

    world.run(scene)
    assert resolutions(world, "t") == ["exception (worker-shutdown)"]
    assert "spot interruption" in world.log()
    assert world.is_clean()


def test_a_second_notice_makes_a_graceful_shutdown_immediate(world: World) -> None:
    async def scene() -> None:
        await world.submit("t", run_for=6000, max_run_time=86400)
        await asyncio.sleep(65)
        world.host.leave(why="SIGINT")
        await asyncio.sleep(60)
        world.host.leave(immediate=True, why="SIGINT again")

    world.run(scene)
    assert resolutions(world, "t") == ["exception (worker-shutdown)"]


def test_a_second_notice_is_handled_while_a_kill_hangs(world: World) -> None:
    async def scene() -> None:
        await world.submit("t", run_for=6000, max_run_time=60, hang_at="kill")
        await asyncio.sleep(70)
        world.host.leave(why="SIGINT")
        world.host.leave(immediate=True, why="SIGINT again")

    world.run(scene)
    assert world.seen.worker[-1] == "stopped"
    assert resolutions(world, "t") == ["failed (max-run-time)"]


def test_a_claim_granted_in_the_tick_of_the_shutdown_is_handed_back(world: World) -> None:
    class ShutdownAfterClaim(ForwardingQueue):
        async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
            claims = await self.inner.claim(n, lease=lease, wait=wait)
            asyncio.get_running_loop().call_soon(lambda: world.worker.shutdown(immediate=False, why="SIGTERM"))
            return claims

    async def scene() -> None:
        await world.submit("t", run_for=600)
        await asyncio.sleep(30)
        status = await world.queue.status("t")
        assert (status.state, status.resolution) == ("pending", None)

    world.run(scene, wrap=ShutdownAfterClaim)
    assert world.seen.worker[-1] == "stopped"
    assert "t/0 reject" in world.seen.moves


def test_a_claim_that_answers_only_after_the_shutdown_is_handed_back(world: World) -> None:
    class LateAnswer(ForwardingQueue):
        """A claim waits for the answer of its server, also when it is cancelled."""

        async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                await asyncio.sleep(5)
            return await self.inner.claim(n, lease=lease, wait=0)

    async def scene() -> None:
        await world.submit("t", run_for=600)
        await asyncio.sleep(10)
        world.host.leave(why="SIGTERM")
        await asyncio.sleep(60)
        assert (await world.queue.status("t")).state == "pending"

    world.run(scene, wrap=LateAnswer)
    assert world.seen.worker[-1] == "stopped"
    assert "t/0 reject" in world.seen.moves


def test_a_claim_lost_while_uploading_stops_the_upload_and_reports_nothing(world: World) -> None:
    class Lossy(ForwardingQueue):
        resolved = 0

        async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
            if "t/0 exited" in world.seen.moves:
                raise ClaimLost("expired")
            return await self.inner.reclaim(claim, lease=lease)

        async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
            self.resolved += 1
            return await self.inner.resolve(claim, resolution)

    queues: list[Lossy] = []

    def wrap(queue: Queue) -> Queue:
        queues.append(Lossy(queue))
        return queues[0]

    async def scene() -> None:
        await world.submit("t", run_for=10, deliver_for=600)
        await asyncio.sleep(300)
        world.host.leave(immediate=True)

    world.run(scene, wrap=wrap)
    assert world.visits()[-2:] == [("cleanup", "reclaim_failed"), ("resolved", "cleaned")]
    assert resolutions(world, "t") == ["exception (claim-expired)"]
    assert queues[0].resolved == 0 or world.seen.moves.count("t/0 reported") == 0
    assert world.is_clean()


def test_an_unavailable_queue_stops_the_task_when_its_lease_ends(world: World) -> None:
    class Partitioned(ForwardingQueue):
        async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
            raise Unavailable("no route to host")

    async def scene() -> None:
        await world.submit("t", run_for=6000, max_run_time=86400)
        await asyncio.sleep(59)
        assert "t/0 reclaim_failed" not in world.seen.moves
        await asyncio.sleep(2)
        assert "t/0 reclaim_failed" in world.seen.moves
        world.host.leave(immediate=True)

    world.run(scene, wrap=Partitioned)
    assert "unconfirmed" in world.log()
    assert world.is_clean()


def test_a_report_that_gets_no_answer_is_sent_again(world: World) -> None:
    class Flaky(ForwardingQueue):
        tries = 0

        async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
            self.tries += 1
            if self.tries < 4:
                raise Unavailable("503")
            return await self.inner.resolve(claim, resolution)

    async def scene() -> None:
        await world.submit("t")
        await world.ended("t")

    world.run(scene, wrap=Flaky)
    assert resolutions(world, "t") == ["completed"]
    assert sum("503" in warning for warning in world.seen.warnings) == 3


def test_a_run_that_its_platform_cannot_take_now_is_handed_back(world: World) -> None:
    async def scene() -> None:
        world.platform.engine_error = Unavailable("the engine restarts")
        await world.submit("t", retries=0)
        await asyncio.sleep(5)
        assert (await world.queue.status("t")).state == "pending"
        world.platform.engine_error = None
        status = await world.ended("t")
        assert str(status.resolution) == "completed"

    world.run(scene)


def make_unavailable(world: World) -> list[bool]:
    """Makes the platform unavailable until the returned list is empty."""
    down, plug = [True], world.platform.plugin()

    class Down(plug):  # type: ignore[misc,valid-type]
        @classmethod
        async def open(cls, options: object, context: PlatformContext) -> Platform:
            if down:
                raise Unavailable("the engine is not running: start it")
            platform: Platform = await super().open(options, context)
            return platform

    world.platform.plugin = lambda: Down  # type: ignore[method-assign]
    return down


def test_an_unavailable_platform_in_the_configuration_stops_the_claiming(world: World) -> None:
    down = make_unavailable(world)

    async def scene() -> None:
        await world.submit("t", retries=0)
        await asyncio.sleep(600)
        assert (await world.queue.status("t")).runs == ()
        assert world.worker.load.pause == "the engine is not running: start it"
        down.clear()
        assert str((await world.ended("t")).resolution) == "completed"

    world.promised = frozenset({"fake"})
    world.run(scene)


def test_an_unavailable_platform_outside_the_configuration_ends_the_run(world: World) -> None:
    make_unavailable(world)

    async def scene() -> None:
        await world.submit("t")
        assert str((await world.ended("t")).resolution) == "exception (resource-unavailable)"

    world.run(scene)
    assert "start it" in world.log()


def test_an_unfit_machine_stops_claiming_and_reports_why(world: World) -> None:
    async def scene() -> None:
        await world.submit("first")
        await asyncio.sleep(1)
        world.platform.current_health = Health(fit=False, why="the disk is full")
        await asyncio.sleep(30)
        await world.submit("second")
        await asyncio.sleep(600)
        assert (await world.queue.status("second")).state == "pending"
        assert world.worker.load.pause == "the disk is full"
        world.platform.current_health = Health(fit=True)
        await world.ended("second")

    world.run(scene)
    assert resolutions(world, "first", "second") == ["completed", "completed"]


def test_a_full_disk_stops_claiming(world: World) -> None:
    async def scene() -> None:
        await world.submit("t")
        await asyncio.sleep(60)
        assert (await world.queue.status("t")).state == "pending"
        assert "bytes are free" in world.worker.load.pause
        world.host.leave()

    world.min_free_disk = 1 << 62
    world.run(scene)


def test_a_broken_worker_stops_and_reports_why(world: World) -> None:
    async def scene() -> None:
        await world.submit("t", fail_at="load", error="broken")

    world.run(scene)
    assert world.worker.load.broken
    assert "the script says so" in world.worker.load.why
    assert resolutions(world, "t") == ["exception (internal-error)"]


@pytest.mark.parametrize("capacity", [1, 3])
def test_an_idle_worker_stops_after_its_idle_time(world: World, capacity: int) -> None:
    async def scene() -> None:
        await world.submit("t", run_for=100)

    async def stopwatch() -> None:
        await asyncio.sleep(129)
        assert not world.worker.machine.over, "the time counts from the end of its last run"
        await asyncio.sleep(2)
        assert world.worker.machine.over

    world.run(scene, stopwatch, capacity=capacity, stop_when=StopCondition(idle=30))
    assert resolutions(world, "t") == ["completed"]
    assert "nothing to do for 30 s" in world.worker.load.why


def test_a_queue_that_does_not_answer_is_asked_again(world: World) -> None:
    class Down(ForwardingQueue):
        tries = 0

        async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
            self.tries += 1
            if self.tries < 3:
                raise Unavailable("connection refused")
            return await self.inner.claim(n, lease=lease, wait=wait)

    async def scene() -> None:
        await world.submit("t")
        await world.ended("t")

    world.run(scene, wrap=Down)
    assert resolutions(world, "t") == ["completed"]


def test_the_claim_of_a_run_is_not_reclaimed_after_its_report(world: World) -> None:
    @attrs.define
    class Count:
        late: int = 0

    count = Count()

    class Counting(ForwardingQueue):
        async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
            count.late += "t/0 reported" in world.seen.moves
            return await self.inner.reclaim(claim, lease=lease)

    async def scene() -> None:
        await world.submit("t", run_for=300, hang_at="dispose")
        await asyncio.sleep(900)
        world.host.leave()

    world.run(scene, wrap=Counting)
    assert count.late == 0


def test_the_whole_log_reaches_the_queue_before_the_resolution(world: World) -> None:
    class LogQueue(ForwardingQueue):
        log = b""
        at_resolve = b""

        async def append_log(self, claim: Claim, offset: int, chunk: bytes, origin: LogOrigin | None = None) -> None:
            assert offset == len(self.log)
            self.log += chunk

        async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
            self.at_resolve = self.log
            return await self.inner.resolve(claim, resolution)

    queues: list[LogQueue] = []

    def wrap(queue: Queue) -> Queue:
        queues.append(LogQueue(queue))
        return queues[0]

    async def scene() -> None:
        await world.submit("t", run_for=30, log="tick\n", log_every=10)
        await world.ended("t")

    world.run(scene, wrap=wrap)
    assert queues[0].at_resolve.decode() == world.log()


def test_a_hanging_log_reader_does_not_delay_the_resolution(world: World) -> None:
    class Hanging(ForwardingQueue):
        async def append_log(self, claim: Claim, offset: int, chunk: bytes, origin: LogOrigin | None = None) -> None:
            await asyncio.get_running_loop().create_future()

    async def scene() -> None:
        await world.submit("t")
        await world.ended("t")

    world.run(scene, wrap=Hanging)
    assert resolutions(world, "t") == ["completed"]


def test_caches_are_deleted_when_the_disk_is_full(world: World) -> None:
    async def scene() -> None:
        await world.submit("fill", caches=[{"name": "npm", "path": "c"}], files={"c/a": "1"})
        await asyncio.sleep(5)
        assert list(world.home.glob("caches/fake/npm/*/a"))
        world.worker.min_free_disk = 1 << 62
        await asyncio.sleep(60)
        assert not list(world.home.glob("caches/fake/npm/*/a"))
        world.host.leave()

    world.run(scene)


def test_the_notices_of_an_unavailable_queue_are_requested_again(world: World) -> None:
    class NoNotices(ForwardingQueue):
        tries = 0

        async def notices(self) -> AsyncIterator[Notice]:
            self.tries += 1
            if self.tries < 3:
                raise Unavailable("connection reset")
            return await self.inner.notices()

    async def scene() -> None:
        await world.submit("t", run_for=3600)
        await asyncio.sleep(31)
        await world.queue.cancel("t", "by a notice")
        await world.ended("t")

    world.run(scene, wrap=NoNotices)
    assert "by a notice" in world.log()


def test_notices_are_subscribed_to_again_when_they_end_and_never_in_a_spin(world: World) -> None:
    subscribed: list[float] = []

    async def closed(after: float) -> AsyncIterator[Notice]:
        await asyncio.sleep(after)
        return
        yield

    class Closing(ForwardingQueue):
        async def notices(self) -> AsyncIterator[Notice]:
            subscribed.append(asyncio.get_running_loop().time())
            return await self.inner.notices() if len(subscribed) > 4 else closed(20 if len(subscribed) == 1 else 0)

    async def scene() -> None:
        await world.submit("t", run_for=3600)
        await asyncio.sleep(40)
        await world.queue.cancel("t", "by a notice")
        await world.ended("t")

    world.run(scene, wrap=Closing)
    assert "by a notice" in world.log()
    assert [later - earlier for earlier, later in pairwise(subscribed)] == pytest.approx([20, 5, 5, 5])


def test_a_host_that_repeats_its_notice_without_end_does_not_stop_the_runs(world: World) -> None:
    class Repeating(FakeHost):
        async def shutting_down(self) -> Leave:
            if not self.should_shutdown_now():
                return await super().shutting_down()
            return Leave(immediate=False, why="the machine goes")

    async def scene() -> None:
        await world.submit("t", run_for=60)
        await asyncio.sleep(30)
        world.host.leave()

    world.host = Repeating()
    world.run(scene)
    assert resolutions(world, "t") == ["completed"]
    assert world.seen.worker == ["claiming", "running", "shutting_down", "stopped"]


def test_a_bug_in_one_run_stops_the_worker_and_hands_back_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TaskRun.run

    async def run(self: TaskRun) -> Resolution:
        if self.claim.task_id == "bad":
            raise ZeroDivisionError("a bug of ours")
        return await original(self)

    monkeypatch.setattr(TaskRun, "run", run)

    async def scene() -> None:
        await world.submit("good", run_for=60)
        await asyncio.sleep(5)
        await world.submit("bad")

    world.run(scene, capacity=2)
    assert world.worker.load.broken
    assert "a bug of ours" in world.worker.load.why
    assert resolutions(world, "good") == ["exception (worker-shutdown)"]
    assert world.is_clean()


def test_a_bug_in_the_notices_stops_the_worker_and_hands_back_its_runs(world: World) -> None:
    class Broken(ForwardingQueue):
        async def notices(self) -> AsyncIterator[Notice]:
            return self.broken()

        async def broken(self) -> AsyncIterator[Notice]:
            await asyncio.sleep(60)
            raise ZeroDivisionError("a bug of a plug")
            yield

    async def scene() -> None:
        await world.submit("t", run_for=6000, max_run_time=86400)
        await asyncio.sleep(90)
        assert (await world.queue.status("t")).state == "pending"

    world.run(scene, wrap=Broken)
    assert world.worker.load.broken
    assert "a bug of a plug" in world.worker.load.why
    assert resolutions(world, "t") == ["exception (worker-shutdown)"]
    assert world.is_clean()


def test_a_bug_in_a_reclaim_ends_the_run(world: World) -> None:
    class Broken(ForwardingQueue):
        async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
            raise ZeroDivisionError("a bug in the queue")

    async def scene() -> None:
        await world.submit("t", run_for=600, retries=0)
        status = await world.ended("t")
        assert str(status.resolution) == "exception (internal-error)"

    world.run(scene, wrap=Broken)
    assert "a bug in the queue" in world.log()
    assert world.is_clean()


def test_an_error_of_a_log_reader_is_only_a_warning(world: World) -> None:
    class Broken(ForwardingQueue):
        async def append_log(self, claim: Claim, offset: int, chunk: bytes, origin: LogOrigin | None = None) -> None:
            raise Unavailable("connection refused by the reader")

    async def scene() -> None:
        await world.submit("t")
        await world.ended("t")

    world.run(scene, wrap=Broken)
    assert resolutions(world, "t") == ["completed"]
    assert any("its peer has not got the last" in warning for warning in world.seen.warnings)


def test_the_host_is_asked_before_a_claim(world: World) -> None:
    class TerminatingHost(FakeHost):
        def should_shutdown_now(self) -> bool:
            return True

    async def scene() -> None:
        await world.submit("t")
        await asyncio.sleep(60)
        assert (await world.queue.status("t")).runs == ()

    world.host = TerminatingHost()
    world.run(scene)
    assert world.worker.load.why == "the host is about to go"


def test_a_claim_is_not_renewed_while_its_resolution_is_reported(world: World) -> None:
    """A reclaim that arrives after the resolution would be taken for a lost claim."""
    log: list[str] = []

    class Slow(ForwardingQueue):
        async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
            log.append("reclaim")
            return await self.inner.reclaim(claim, lease=lease)

        async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
            log.append("resolve")
            await asyncio.sleep(40)
            log.append("resolved")
            return await self.inner.resolve(claim, resolution)

    async def scene() -> None:
        await world.submit("t", run_for=90)
        await world.ended("t")

    world.run(scene, wrap=Slow)
    assert log[-2:] == ["resolve", "resolved"]
    assert "reclaim" in log


def test_no_run_is_claimed_beyond_the_number_of_the_stop_condition(world: World) -> None:
    async def scene() -> None:
        for n in range(5):
            await world.submit(f"t{n}", run_for=60)

    world.run(scene, capacity=4, stop_when=StopCondition(tasks=3))
    assert len(world.seen.endings) == 3
    assert world.worker.load.why == "3 tasks taken, as was asked"


def test_a_slot_is_the_lowest_that_is_free(world: World) -> None:
    slots: dict[str, int] = {}
    world.seen.started = lambda run: slots.setdefault(run.claim.task_id, run.slot)  # type: ignore[method-assign]

    async def scene() -> None:
        await world.submit("a", run_for=100)
        await world.submit("b", run_for=10)
        await asyncio.sleep(50)
        await world.submit("c", run_for=10)

    world.run(scene, capacity=2, stop_when=StopCondition(tasks=3))
    assert slots == {"a": 0, "b": 1, "c": 1}


def test_a_notice_to_drain_begins_a_graceful_shutdown(world: World) -> None:
    class Draining(ForwardingQueue):
        async def notices(self) -> AsyncIterator[Notice]:
            return self.drain()

        async def drain(self) -> AsyncIterator[Notice]:
            await asyncio.sleep(30)
            yield Notice("drain")

    async def scene() -> None:
        await world.submit("t", run_for=60)

    world.run(scene, wrap=Draining)
    assert world.worker.load.why == "the queue asked for it"
    assert resolutions(world, "t") == ["completed"]


def test_a_cancel_ends_its_own_run_only(world: World) -> None:
    async def scene() -> None:
        await world.submit("a", run_for=600)
        await world.submit("b", run_for=600)
        await asyncio.sleep(10)
        world.worker.cancel("a", "not needed")

    world.run(scene, capacity=2, stop_when=StopCondition(tasks=2))
    assert resolutions(world, "a", "b") == ["exception (canceled)", "completed"]


def test_a_run_that_cannot_be_begun_is_handed_back_and_tried_again(world: World) -> None:
    async def scene() -> None:
        (world.home / "runs").write_text("no folder")
        await world.submit("t", retries=0)
        await asyncio.sleep(2)
        assert (await world.queue.status("t")).state == "pending"
        assert world.worker.machine.at == "paused"
        (world.home / "runs").unlink()
        await asyncio.sleep(20)
        assert str((await world.queue.status("t")).resolution) == "completed"
        world.host.leave()

    world.run(scene)


def test_a_worker_with_a_stop_condition_does_not_spin(world: World) -> None:
    asked = 0

    async def over() -> str:
        nonlocal asked
        asked += 1
        times.append(asyncio.get_running_loop().time())
        return "asked often enough" if asked > 20 else ""

    times: list[float] = []
    world.run(stop_when=StopCondition(over=over))
    assert times[-1] - times[0] >= 5


def test_no_more_runs_are_claimed_at_once_than_the_queue_allows(world: World) -> None:
    asked: list[int] = []

    class Narrow(ForwardingQueue):
        def __init__(self, inner: Queue) -> None:
            super().__init__(inner)
            self.capabilities = attrs.evolve(inner.capabilities, max_claim=2)

        async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
            asked.append(n)
            return await self.inner.claim(n, lease=lease, wait=wait)

    async def scene() -> None:
        for n in range(3):
            await world.submit(f"t{n}", run_for=60)

    world.run(scene, capacity=3, stop_when=StopCondition(tasks=3), wrap=Narrow)
    assert asked == [2, 1]


@pytest.mark.parametrize(("retry_after", "pause"), [(None, 5), (30.0, 30)])
def test_the_worker_waits_between_calls_to_an_unavailable_queue(
    world: World, retry_after: float | None, pause: float
) -> None:
    asked: list[float] = []

    class Down(ForwardingQueue):
        async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
            asked.append(asyncio.get_running_loop().time())
            assert len(asked) < 10, "it asks without a pause"
            raise Unavailable("connection refused", retry_after)

    async def scene() -> None:
        await asyncio.sleep(pause + 1)
        world.host.leave()

    world.run(scene, wrap=Down)
    assert asked[1] - asked[0] == pytest.approx(pause)
