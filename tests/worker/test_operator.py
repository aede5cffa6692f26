"""What an operator asks of a worker, in virtual time: status, pause, resume, drain."""

from __future__ import annotations

import asyncio

import pytest

from taskrunner.model import Health, Progress
from tests.worker.conftest import World


async def state_of(world: World, task_id: str) -> str:
    return (await world.queue.status(task_id)).state


def test_a_pause_claims_nothing_and_its_runs_go_on(world: World) -> None:
    async def scene() -> None:
        await world.submit("now", run_for=600)
        await asyncio.sleep(60)
        world.worker.pause()
        await asyncio.sleep(1)
        await world.submit("later")
        await asyncio.sleep(7200)
        assert (await state_of(world, "now"), await state_of(world, "later")) == ("resolved", "pending")
        assert world.worker.status().why == "paused by its operator"
        world.worker.resume()
        await world.ended("later")

    world.run(scene, capacity=2)
    assert str(world.seen.endings["later/0"]) == "completed"


def test_a_pause_with_a_time_ends_by_itself(world: World) -> None:
    async def scene() -> None:
        await asyncio.sleep(1)
        world.worker.pause(600)
        await asyncio.sleep(1)
        await world.submit("t")
        await asyncio.sleep(589)
        assert await state_of(world, "t") == "pending"
        assert world.worker.status().pause_left == pytest.approx(10)
        await asyncio.sleep(11)
        assert world.worker.status().pause_left is None
        await world.ended("t")

    world.run(scene)


def test_the_last_pause_decides_when_it_ends(world: World) -> None:
    async def scene() -> None:
        await asyncio.sleep(1)
        world.worker.pause(60)
        world.worker.pause()
        await asyncio.sleep(1)
        await world.submit("t")
        await asyncio.sleep(3600)
        assert await state_of(world, "t") == "pending"
        world.worker.pause(60)
        await asyncio.sleep(61)
        await world.ended("t")

    world.run(scene)


def test_a_healthy_machine_does_not_end_the_pause_of_its_operator(world: World) -> None:
    async def scene() -> None:
        await world.submit("first")
        await asyncio.sleep(1)
        world.worker.pause()
        await asyncio.sleep(1)
        world.platform.current_health = Health(fit=False, why="the disk is full")
        await world.submit("second")
        await asyncio.sleep(60)
        assert world.worker.status().why == "paused by its operator; the disk is full"
        world.platform.current_health = Health(fit=True)
        await asyncio.sleep(3600)
        assert await state_of(world, "second") == "pending"
        world.worker.resume()
        await world.ended("second")

    world.run(scene)


def test_the_operator_cannot_make_a_sick_machine_claim(world: World) -> None:
    async def scene() -> None:
        await world.submit("first")
        await asyncio.sleep(1)
        world.platform.current_health = Health(fit=False, why="the disk is full")
        await asyncio.sleep(60)
        world.worker.pause(30)
        await asyncio.sleep(1)
        await world.submit("second")
        await asyncio.sleep(600)
        assert (await state_of(world, "second"), world.worker.status().why) == ("pending", "the disk is full")
        world.platform.current_health = Health(fit=True)
        await world.ended("second")

    world.run(scene)


def test_a_drain_is_the_first_signal_and_drain_now_the_second(world: World) -> None:
    async def scene() -> None:
        await world.submit("t", run_for=6000, max_run_time=86400)
        await asyncio.sleep(65)
        world.worker.drain()
        await asyncio.sleep(60)
        assert (world.worker.status().state, world.worker.status().hands_back) == ("shutting_down", False)
        world.worker.drain(now=True)
        world.worker.drain()
        assert world.worker.status().hands_back

    world.run(scene)
    assert str(world.seen.endings["t/0"]) == "exception (worker-shutdown)"


def test_a_paused_worker_can_be_drained(world: World) -> None:
    async def scene() -> None:
        await asyncio.sleep(1)
        world.worker.pause(3600)
        world.worker.drain()

    world.run(scene)
    assert world.seen.worker[-2:] == ["shutting_down", "stopped"]


def test_orders_after_the_end_do_nothing(world: World) -> None:
    async def scene() -> None:
        await asyncio.sleep(1)
        world.worker.drain()
        await asyncio.sleep(1)
        for order in (world.worker.pause, world.worker.resume, world.worker.drain):
            order()
        assert world.worker.status().state == "stopped"

    world.run(scene)


def test_the_status_has_every_run_with_its_state_age_and_progress(world: World) -> None:
    async def scene() -> None:
        await asyncio.sleep(10)
        await world.submit("t", name="a title", run_for=600)
        await asyncio.sleep(60)
        world.worker.runs[0]._progressed(Progress("clone", 3, 10))
        report = world.worker.status()
        assert (report.worker_id, report.capacity, report.taken, report.queue) == ("w1", 2, 1, "MemoryQueue")
        assert (report.state, report.age, report.state_age) == ("claiming", pytest.approx(70), pytest.approx(70))
        [run] = report.runs
        assert (run.task_id, run.run_id, run.slot, run.name, run.platform) == ("t", 0, 0, "a title", "fake")
        assert (run.state, run.age, run.progress) == ("running", pytest.approx(60), Progress("clone", 3, 10))
        await world.ended()

    world.run(scene, capacity=2)


def test_the_reason_of_a_pause_is_reported_once(world: World) -> None:
    moves: list[str] = []

    class Telling:
        def after_transition(self, event: str) -> None:
            moves.append(str(event))

    async def scene() -> None:
        await world.submit("first")
        await asyncio.sleep(1)
        world.platform.current_health = Health(fit=False, why="the disk is full")
        await asyncio.sleep(600)
        world.host.leave()

    world.listeners = [Telling()]
    world.run(scene)
    assert moves.count("unfit") == 1
