"""A run with a state of its own, and listeners, in a whole worker."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from statemachine import State

from examples.test_attesting import AttestingRun
from taskrunner import Config, MemoryQueue, StopCondition, Submission, run_worker
from taskrunner.errors import TaskFailed
from taskrunner.machines.chart import Signal
from taskrunner.testing import FakeHost, FakePlatform, clock
from tests.worker.conftest import World


def test_a_run_goes_through_an_added_state(world: World) -> None:
    async def scene() -> None:
        await world.submit("t", files={"a.txt": "1", "b.txt": "2"})
        await world.ended()

    world.run_class = AttestingRun
    world.run(scene)
    assert [state for state, _ in world.visits()] == [
        "claimed", "loading", "running", "attesting", "uploading", "cleanup", "resolved",
    ]  # fmt: skip
    kept = world.store.bodies[world.platform.run("t").key, "attestation.txt"]
    assert kept.decode() == hashlib.sha256(b"a.txt1b.txt2").hexdigest()


def test_a_cancel_in_an_added_state_leaves_no_resources(world: World) -> None:
    class Slow(AttestingRun):
        async def attest(self) -> Signal:
            await asyncio.sleep(30)
            return Signal("attested")

    async def scene() -> None:
        await world.submit("t")
        await asyncio.sleep(10)
        await world.queue.cancel("t")
        await world.ended()

    world.run_class = Slow
    world.run(scene)
    assert world.visits()[-3:] == [("attesting", "exited"), ("cleanup", "cancel"), ("resolved", "cleaned")]
    assert world.is_clean()


def test_an_error_in_an_added_state_decides_the_resolution(world: World) -> None:
    class Refusing(AttestingRun):
        async def attest(self) -> Signal:
            raise TaskFailed("unattested", "the build is not reproducible")

    async def scene() -> None:
        await world.submit("t")
        status = await world.ended()
        assert str(status.resolution) == "failed (unattested)"

    world.run_class = Refusing
    world.run(scene)


def test_a_run_class_without_a_step_for_a_state_is_a_bug(world: World) -> None:
    class Stepless(AttestingRun):
        def steps(self) -> dict:  # type: ignore[type-arg]
            return {state: step for state, step in super().steps().items() if state != "attesting"}

    async def scene() -> None:
        await world.submit("t")
        await asyncio.sleep(60)
        assert (await world.queue.status("t")).state == "pending"

    world.run_class = Stepless
    world.run(scene)
    assert world.worker.load.broken
    assert world.worker.load.why == "these states have no step, or are none: attesting"


def test_run_worker_takes_listeners_and_another_run_class(tmp_path: Path) -> None:
    seen: list[str] = []

    class Listener:
        def after_transition(self, event: str, source: State, target: State) -> None:
            if source.id != target.id:
                seen.append(f"{source.id} {event} {target.id}")

    async def main() -> str:
        queue = MemoryQueue("me")
        await queue.submit(Submission("t", {"platform": "fake"}))
        await run_worker(
            Config(min_free_disk=0), FakeHost(), tmp_path, stop_when=StopCondition(tasks=1), queue=queue.join,
            plugins={"fake": FakePlatform().plugin()}, run_class=AttestingRun, listeners=[Listener()],
        )  # fmt: skip
        return str((await queue.status("t")).resolution)

    assert clock.run(main()) == "completed"
    assert seen == [
        "booting booted claiming",
        "claiming shutdown shutting_down",
        "shutting_down drained stopped",
    ]
    assert (tmp_path / "artifacts" / "t" / "0").exists()


@pytest.mark.parametrize("when", ["before_transition", "after_transition"])
def test_an_error_of_a_listener_stops_the_worker_in_order(world: World, when: str) -> None:
    def raise_once(self: object, event: str) -> None:
        if event == "polled":
            raise ZeroDivisionError("a bug of a listener")

    async def scene() -> None:
        await world.submit("t", run_for=600)

    listener = type("Listener", (), {when: raise_once})()
    world.listeners = [listener]
    world.run(scene, capacity=2)
    assert world.worker.load.broken
    assert "a bug of a listener" in world.worker.load.why
    assert world.is_clean()
