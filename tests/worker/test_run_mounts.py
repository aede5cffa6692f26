"""Mounts of a task, from its document to the engine, and their release."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from taskrunner.caches.cache_copy import CacheCopy
from taskrunner.errors import Unavailable
from taskrunner.interfaces.engine import Engine
from taskrunner.testing.fakes.platform import FakeEngine
from tests.support.forwarding_queue import ForwardingQueue
from tests.worker.conftest import World

TEXT = {"target": "text", "content": "hello\n"}
ARTIFACT = {"target": "data", "task": "build", "artifact": "out"}


def kept(world: World) -> list[Path]:
    return sorted(world.home.glob("engine-caches/*/*/content"))


def leased(world: World) -> list[Path]:
    """The copies that a run has."""
    found = []
    for lock in world.home.glob("engine-caches/*/*.lock"):
        copy = CacheCopy(lock.with_suffix(""))
        if not copy.acquire(shared=False):
            found.append(copy.path)
        copy.release()
    return found


def test_a_text_is_there_before_the_command_and_gone_after_it(world: World) -> None:
    assert world.outcome(mounts=[TEXT], print_file="text").startswith("completed")
    assert "\nhello\n" in world.log()
    assert world.platform.trace("t")[:4] == ["new-engine", "load", "attach-mount", "start"]
    assert kept(world) == []


def test_an_artifact_of_an_earlier_task(world: World) -> None:
    async def scene() -> None:
        await world.submit("build", files={"out": "built\n"}, artifacts=[{"name": "out", "path": "out"}])
        async for status in world.queue.watch("build"):
            if status.state == "resolved":
                break
        await world.submit("t", mounts=[ARTIFACT], print_file="data", run_for=60)
        await asyncio.sleep(30)
        assert leased(world) == [kept(world)[0].parent], "the run has it"
        assert str((await world.ended()).resolution) == "completed"

    world.run(scene)
    assert "\nbuilt\n" in world.log()
    assert leased(world) == []
    assert len(kept(world)) == 1


@pytest.mark.parametrize(
    "document",
    [
        {"fail_at": "start", "error": "task-failed"},
        {"fail_at": "wait", "error": "crash"},
        {"max_run_time": 5, "run_for": 60},
        {"mounts": [TEXT, {"target": "x", "task": "nobody", "artifact": "out"}]},
        {"mounts": [TEXT, {"target": "x", "file": "/etc/passwd"}]},
    ],
    ids=["start", "wait", "time", "a second one", "a file"],
)
def test_however_a_run_ends_it_has_no_mount_any_more(world: World, document: Any) -> None:
    assert not world.outcome(**{"mounts": [TEXT], **document}).startswith("completed")
    assert leased(world) == []
    assert kept(world) == []
    assert world.is_clean()


def test_a_platform_without_mounts_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEngine, "attach_mount", Engine.attach_mount)
    assert world.outcome(mounts=[TEXT]) == (
        "exception (malformed-payload): mounts[0]: the fake platform cannot give the mount text to this run: mounts "
        "(run the task on another platform)"
    )
    assert kept(world) == []


def test_a_target_that_the_engine_refuses_is_told_by_its_field(world: World) -> None:
    """What the document alone cannot show: this engine takes both for one place."""
    message = world.outcome(mounts=[{**TEXT, "target": "other"}, TEXT], caches=[{"name": "c", "path": "text/./deep"}])
    assert message.startswith("exception (malformed-payload): mounts[1].target: is the same place as caches[0].path")


def test_a_queue_whose_tasks_do_not_know_each_other(world: World) -> None:
    assert world.outcome(wrap=ForwardingQueue, mounts=[TEXT, ARTIFACT]) == (
        "exception (malformed-payload): mounts[1].artifact: cannot be had here: tasks of this queue cannot name each "
        "other (let the task fetch it)"
    )


def test_a_store_that_is_down_hands_the_run_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def listing(*_: object) -> Any:
        raise Unavailable("the store is down")

    async def scene() -> None:
        await world.submit("build", files={"out": "built\n"}, artifacts=[{"name": "out", "path": "out"}])
        async for status in world.queue.watch("build"):
            if status.state == "resolved":
                break
        monkeypatch.setattr(world.store, "list", listing)
        await world.submit("t", mounts=[ARTIFACT], retries=0)
        resolution = (await world.ended()).resolution
        assert str(resolution) == "exception (resource-unavailable)"

    world.run(scene)
