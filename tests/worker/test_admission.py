"""Runs begin when the resources that they ask for are free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from taskrunner.amounts import Amounts
from taskrunner.config.resource_options import ResourceOptions
from taskrunner.interfaces.queue import Queue, Slots
from taskrunner.runs.admission import Admission
from taskrunner.runs.services import Services
from taskrunner.worker.stop_condition import StopCondition
from tests.support.forwarding_queue import ForwardingQueue
from tests.worker.conftest import World

GIB = 1 << 30
EIGHT = ResourceOptions(memory=8 * GIB, cpus=4, named={"gpu": 1}, default=Amounts(memory=2 * GIB))


class RoomyWorld(World):
    """A world whose worker counts what its machine has."""

    options = EIGHT

    def services(self, queue: Queue, worker_id: str) -> Services:
        found = super().services(queue, worker_id)
        object.__setattr__(found, "admission", Admission(self.options))
        return found


class ReadingQueue(ForwardingQueue):
    def offer_slots(self, slots: Slots) -> None:
        self.inner.offer_slots(slots)


WRAPS: dict[str, Callable[[Queue], Queue]] = {"reads the room": ReadingQueue, "reads nothing": ForwardingQueue}


@pytest.fixture
def roomy(tmp_path: Any) -> RoomyWorld:
    return RoomyWorld(tmp_path)


def began(world: World) -> list[str]:
    return [move.split("/")[0] for move in world.seen.moves if move.endswith(" loaded")]


def most_at_once(world: World) -> int:
    """How many runs were between the beginning of their command and their end at the same time."""
    now = most = 0
    for move in world.seen.moves:
        now += move.endswith(" loaded")
        most = max(most, now)
        now -= move.endswith(" exited")
    return most


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize(
    ("resources", "most"),
    [({"memory": "4GiB"}, 2), ({"cpus": 1.5}, 2), ({"gpu": 1}, 1), ({}, 4), ({"memory": "1GiB", "cpus": 1}, 4)],
)
def test_no_more_run_than_fit(
    roomy: RoomyWorld, wrap: Callable[[Queue], Queue], resources: dict[str, Any], most: int
) -> None:
    async def scene() -> None:
        for n in range(6):
            await roomy.submit(f"t{n}", run_for=60, resources=resources)

    roomy.run(scene, capacity=8, stop_when=StopCondition(tasks=6), wrap=wrap)
    assert [str(ending) for ending in roomy.seen.endings.values()] == ["completed"] * 6
    assert most_at_once(roomy) == most


def test_a_queue_that_reads_the_room_keeps_what_does_not_fit(roomy: RoomyWorld) -> None:
    async def scene() -> None:
        await roomy.submit("first", run_for=60, resources={"memory": "6GiB"})
        await roomy.submit("large", run_for=60, resources={"memory": "6GiB"})
        await roomy.submit("small", run_for=60, resources={"memory": "1GiB"})
        await asyncio.sleep(30)
        assert (await roomy.queue.status("large")).state == "pending"
        assert (await roomy.queue.status("small")).state == "running"
        await roomy.ended("large")

    roomy.run(scene, capacity=4)
    assert began(roomy) == ["first", "small", "large"]


def test_from_another_queue_a_run_waits_in_its_slot_and_nothing_overtakes_it(roomy: RoomyWorld) -> None:
    async def scene() -> None:
        await roomy.submit("first", run_for=300, resources={"memory": "6GiB"})
        await roomy.submit("large", run_for=60, resources={"memory": "6GiB"}, max_run_time=61)
        await roomy.submit("small", run_for=60, resources={"memory": "1GiB"})
        await asyncio.sleep(150)
        assert (await roomy.queue.status("large")).state == "running"
        assert (await roomy.queue.status("small")).state == "pending"
        await roomy.ended("small")

    roomy.run(scene, capacity=4, wrap=ForwardingQueue)
    assert began(roomy) == ["first", "large", "small"]
    assert str(roomy.seen.endings["large/0"]) == "completed"
    assert "waiting for resources: asks for memory 6GiB, and free are memory 2GiB, cpus 4, gpu 1" in roomy.log("large")


def test_a_waiting_run_is_canceled(roomy: RoomyWorld) -> None:
    async def scene() -> None:
        await roomy.submit("first", run_for=300, resources={"gpu": 1})
        await roomy.submit("second", run_for=60, resources={"gpu": 1})
        await roomy.submit("third", run_for=60)
        await asyncio.sleep(100)
        await roomy.queue.cancel("second")
        await roomy.ended("third")

    roomy.run(scene, capacity=4, wrap=ForwardingQueue)
    assert began(roomy) == ["first", "third"]
    assert roomy.is_clean()


def test_a_waiting_run_is_handed_back_when_the_worker_stops(roomy: RoomyWorld) -> None:
    async def scene() -> None:
        await roomy.submit("first", run_for=300, resources={"gpu": 1})
        await roomy.submit("second", run_for=60, resources={"gpu": 1})
        await asyncio.sleep(100)
        roomy.host.leave(immediate=True, why="SIGTERM")
        await asyncio.sleep(100)
        assert (await roomy.queue.status("second")).state == "pending"

    roomy.run(scene, capacity=4, wrap=ForwardingQueue)
    assert began(roomy) == ["first"]


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_what_never_fits_is_refused_with_what_the_worker_has(roomy: RoomyWorld, wrap: Callable[[Queue], Queue]) -> None:
    async def scene() -> None:
        await roomy.submit("huge", retries=0, resources={"memory": "9GiB", "tpu": 2})
        await roomy.ended("huge")

    roomy.run(scene, wrap=wrap)
    ending = roomy.seen.endings["huge/0"]
    assert str(ending) == "exception (resource-unavailable)"
    assert ending.message == (
        "resources.memory, resources.tpu: the task asks for memory 9GiB, tpu 2; this worker has memory 8GiB, cpus 4, "
        "gpu 1 in all, for its tasks together"
    )


def test_more_than_the_maximum_is_malformed(roomy: RoomyWorld) -> None:
    roomy.options = ResourceOptions(memory=8 * GIB, maximum=Amounts(memory=GIB, pids=100))

    async def scene() -> None:
        await roomy.submit("t", resources={"memory": "2GiB", "pids": 200})
        await roomy.ended("t")

    roomy.run(scene)
    ending = roomy.seen.endings["t/0"]
    assert str(ending) == "exception (malformed-payload)"
    fix = "(ask for less, or let the operator raise it in [resources.maximum])"
    assert ending.message.splitlines() == [
        f"resources.memory: is more than this worker allows one task, memory 1GiB {fix}",
        f"resources.pids: is more than this worker allows one task, pids 100 {fix}",
    ]


def test_without_a_count_nothing_waits_and_names_are_refused(world: World) -> None:
    async def scene() -> None:
        for n in range(3):
            await world.submit(f"t{n}", run_for=60, resources={"memory": "900GiB"})
        await world.submit("t3", retries=0, resources={"gpu": 1})

    world.run(scene, capacity=4, stop_when=StopCondition(tasks=4))
    assert most_at_once(world) == 3
    assert "this worker has nothing in all" in world.seen.endings["t3/0"].message


def test_the_platform_sees_the_defaults(roomy: RoomyWorld) -> None:
    seen: list[Amounts] = []

    async def scene() -> None:
        await roomy.submit("t", run_for=60, resources={"cpus": 2})
        await asyncio.sleep(30)
        seen.extend(run.task.resources for run in roomy.worker.runs.values())
        await roomy.ended("t")

    roomy.run(scene)
    assert seen == [Amounts(memory=2 * GIB, cpus=2)]
