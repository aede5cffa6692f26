"""What a worker makes ready while it waits for the first run that a peer dispatches."""

from __future__ import annotations

import asyncio

import pytest

from taskrunner.model import Document, Submission
from taskrunner.queues.push.queue import PushQueue
from taskrunner.testing import ScriptedSource
from tests.worker.conftest import World
from tests.worker.test_worker import make_unavailable


def opened_in_a_minute(world: World, sample: Document | None) -> list[str]:
    """The platforms that a worker without any run has open, whose queue has this sample."""
    source, names = ScriptedSource(), list[str]()

    async def scene() -> None:
        await source.credits()
        await asyncio.sleep(60)
        names.extend(world.worker.services.platforms.open_ones)
        world.host.leave(why="the scene is over")

    world.run(scene, wrap=lambda _: PushQueue(source, "w1", world.home, sample))
    return names


def test_the_platform_of_expected_tasks_is_open_before_the_first_one(world: World) -> None:
    assert opened_in_a_minute(world, {"platform": "fake"}) == ["fake"]
    assert world.seen.warnings == []


def test_nothing_is_opened_for_a_queue_that_expects_nothing(world: World) -> None:
    assert opened_in_a_minute(world, None) == []


@pytest.mark.parametrize(
    ("sample", "problem"),
    [
        ({"platform": "nope"}, "platform: this worker has no platform of that name"),
        ({"platform": "fake", "run_for": "ever"}, "run_for: "),
    ],
)
def test_what_stands_in_the_way_of_expected_tasks_is_warned_of(world: World, sample: Document, problem: str) -> None:
    assert opened_in_a_minute(world, sample) == []
    [warning] = world.seen.warnings
    assert warning.startswith(f"the tasks of this queue cannot run now: {problem}")


def test_a_machine_whose_platform_does_not_answer_is_unfit_until_it_does(world: World) -> None:
    source, down = ScriptedSource(), make_unavailable(world)

    async def scene() -> None:
        await source.credits()
        await asyncio.sleep(60)
        assert await source.offer(Submission("early", {"platform": "fake"})) is None
        down.clear()
        peer = await source.dispatch(Submission("late", {"platform": "fake"}))
        assert (await peer.answered()).kind == "completed"
        world.host.leave(why="the scene is over")

    world.run(scene, wrap=lambda _: PushQueue(source, "w1", world.home, {"platform": "fake"}))
    assert {(each.reason, each.why) for each in source.refused} == {("unfit", "the engine is not running: start it")}


def test_a_run_that_comes_before_that_is_known_is_handed_back(world: World) -> None:
    source = ScriptedSource()
    make_unavailable(world)

    async def scene() -> None:
        peer = await source.dispatch(Submission("early", {"platform": "fake"}))
        await peer.answered()
        assert (peer.answers, len(peer.refusals)) == ([], 1)
        world.host.leave(why="the scene is over")

    world.run(scene, wrap=lambda _: PushQueue(source, "w1", world.home, {"platform": "fake"}))
