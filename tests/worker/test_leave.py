"""What the runs get of the time that a host has left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from taskrunner.interfaces.host import Leave
from taskrunner.testing import FakeHost
from taskrunner.worker.leave import HAND_BACK_TIME, REPORT_TIME

if TYPE_CHECKING:
    from tests.worker.conftest import World

LEFT = 120.0
"""Seconds of a spot instance's notice."""


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize(("time_left", "after"), [(LEFT, LEFT - HAND_BACK_TIME), (3.0, 0.0), (0.0, 0.0)])
def test_a_run_is_handed_back_before_the_machine_stops(world: World, time_left: float, after: float) -> None:
    async def scene() -> None:
        await world.submit(run_for=1001)
        await asyncio.sleep(60)
        began = now()
        world.host.leave(why="spot interruption", time_left=time_left)
        async for status in world.queue.watch("t"):
            if status.runs and status.runs[0].resolution:
                break
        assert now() - began == pytest.approx(after, abs=1)

    world.run(scene)
    assert str(world.seen.endings["t/0"]) == "exception (worker-shutdown)"
    assert "spot interruption" in world.log()
    assert world.is_clean()


@pytest.mark.parametrize(("stop_timeout", "after"), [(LEFT, LEFT - HAND_BACK_TIME), (10.0, 0.0)])
def test_a_host_that_does_not_know_its_time_has_the_configured_one(
    world: World, stop_timeout: float, after: float
) -> None:
    world.stop_timeout = stop_timeout

    async def scene() -> None:
        await world.submit(run_for=1001)
        await asyncio.sleep(60)
        began = now()
        world.host.leave(why="SIGTERM")
        async for status in world.queue.watch("t"):
            if status.runs and status.runs[0].resolution:
                break
        assert now() - began == pytest.approx(after, abs=1)

    world.run(scene)
    assert str(world.seen.endings["t/0"]) == "exception (worker-shutdown)"


def test_a_run_that_ends_in_time_is_completed(world: World) -> None:
    async def scene() -> None:
        await world.submit(run_for=60 + LEFT - HAND_BACK_TIME - 1)
        await asyncio.sleep(60)
        world.host.leave(time_left=LEFT)

    world.run(scene)
    assert str(world.seen.endings["t/0"]) == "completed"


def test_without_a_known_time_a_run_finishes(world: World) -> None:
    async def scene() -> None:
        await world.submit(run_for=1001)
        await asyncio.sleep(60)
        world.host.leave()

    world.run(scene)
    assert str(world.seen.endings["t/0"]) == "completed"


@pytest.mark.parametrize("immediate", [True, False])
def test_an_upload_that_is_too_slow_is_given_up_and_the_run_handed_back(world: World, immediate: bool) -> None:
    async def scene() -> None:
        await world.submit(run_for=10, deliver_for=1001)
        await asyncio.sleep(60)
        began = now()
        world.host.leave(immediate=immediate, time_left=LEFT)
        async for status in world.queue.watch("t"):
            if status.runs and status.runs[0].resolution:
                break
        assert now() - began == pytest.approx(LEFT - REPORT_TIME, abs=1)
        assert status.state == "pending"

    world.run(scene)
    assert str(world.seen.endings["t/0"]) == "exception (worker-shutdown)"
    assert "the machine stops, and the upload was not done" in world.log()


def test_an_upload_that_ends_in_time_is_completed(world: World) -> None:
    async def scene() -> None:
        await world.submit(run_for=10, deliver_for=50 + LEFT - REPORT_TIME - 1)
        await asyncio.sleep(60)
        world.host.leave(time_left=LEFT)

    world.run(scene)
    assert str(world.seen.endings["t/0"]) == "completed"


def test_an_upload_that_begins_after_the_notice_is_bounded_too(world: World) -> None:
    async def scene() -> None:
        await world.submit(run_for=80, deliver_for=1001)
        await asyncio.sleep(60)
        world.host.leave(time_left=LEFT)

    world.run(scene)
    assert str(world.seen.endings["t/0"]) == "exception (worker-shutdown)"


def test_a_later_notice_shortens_the_time_and_never_lengthens_it(world: World) -> None:
    async def scene() -> None:
        await world.submit(run_for=6000, max_run_time=86400)
        await asyncio.sleep(60)
        began = now()
        for time_left in (3600, 300, 3000):
            world.host.leave(time_left=time_left)
        async for status in world.queue.watch("t"):
            if status.runs and status.runs[0].resolution:
                break
        assert now() - began == pytest.approx(300 - HAND_BACK_TIME, abs=1)

    world.run(scene)


class Insistent(FakeHost):
    """Its notice does not end."""

    calls = 0

    async def shutting_down(self) -> Leave:
        if not self.should_shutdown_now():
            await super().shutting_down()
        self.calls += 1
        return Leave(immediate=False, why="maintenance")


def test_a_notice_that_does_not_end_starves_nothing(world: World) -> None:
    world.host = host = Insistent()

    async def scene() -> None:
        await world.submit(run_for=100)
        await asyncio.sleep(60)
        host.leave()

    world.run(scene)
    assert str(world.seen.endings["t/0"]) == "completed"
    assert host.calls < 1000
    assert world.seen.worker.count("shutting_down") == 1
