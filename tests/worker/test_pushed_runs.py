"""A worker whose runs are pushed by peers, in virtual time: slots, removals, hand-overs, rejections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path

import pytest

from taskrunner import limits
from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.interfaces.queue import Queue, Slots
from taskrunner.model import Artifact, Move, Resolution, RunKey, Submission
from taskrunner.queues.push.queue import PushQueue
from taskrunner.state.journal_reader import read_journal
from taskrunner.testing import MemoryStore, ScriptedPeer, ScriptedSource
from taskrunner.testing.fakes.results import FakeResults
from taskrunner.worker.stop_condition import StopCondition
from tests.support.forwarding_queue import ForwardingQueue
from tests.worker.conftest import World

REPORT = [{"name": "report.xml", "path": "report.xml"}]


class Pushed:
    """A world whose queue is a PushQueue."""

    def __init__(self, world: World, store: MemoryStore | None = None) -> None:
        self.world, self.source = world, ScriptedSource(store)
        self.slots: list[Slots] = []

    def run(self, *scenes: Callable[[], Awaitable[None]], capacity: int = 1, tasks: int | None = None) -> None:
        def queue(_: Queue) -> Queue:
            slots = self.slots

            class Recorded(PushQueue):
                def offer_slots(self, told: Slots) -> None:
                    slots.append(told)
                    super().offer_slots(told)

            return Recorded(self.source, "w1", self.world.home)

        self.world.run(*scenes, capacity=capacity, stop_when=StopCondition(tasks=tasks), wrap=queue)

    async def dispatch(self, task_id: str = "t", **document: object) -> ScriptedPeer:
        return await self.source.dispatch(self.submission(task_id, **document))

    async def offer(self, task_id: str, **document: object) -> ScriptedPeer | None:
        return await self.source.offer(self.submission(task_id, **document))

    def submission(self, task_id: str, **document: object) -> Submission:
        return Submission(task_id, {"platform": "fake", **document})  # type: ignore[dict-item]

    def notes(self, task_id: str = "t", run_id: int = 0) -> str:
        records = read_journal(self.world.home / "runs" / task_id / str(run_id) / "journal.jsonl")
        return "\n".join(str(record.data["text"]) for record in records if record.kind == "note")


@pytest.fixture
def pushed(world: World) -> Pushed:
    return Pushed(world)


# ---- slots ----------------------------------------------------------------------------------------------


def test_the_queue_knows_at_each_change_what_can_be_taken(pushed: Pushed) -> None:
    async def scene() -> None:
        for task_id in ("one", "two", "three"):
            await pushed.dispatch(task_id, run_for=60)
        await asyncio.sleep(3600)
        pushed.world.worker.shutdown(immediate=False, why="SIGTERM")

    pushed.run(scene, capacity=2)
    free = [slots.free for slots in pushed.slots]
    assert free[0] == 2
    assert {0, 1, 2} == set(free)
    assert [slots.draining for slots in pushed.slots][-1] == "the worker is stopping: SIGTERM"
    assert all(before != after for before, after in zip(pushed.slots, pushed.slots[1:], strict=False))


def test_a_worker_for_one_task_takes_no_second_one(pushed: Pushed) -> None:
    async def scene() -> None:
        peer = await pushed.dispatch("one", run_for=60)
        assert await pushed.offer("two") is None
        await asyncio.sleep(1)
        assert await pushed.offer("three") is None
        assert str(await peer.answered()) == "completed"
        assert [refused.reason for refused in pushed.source.refused] == ["busy", "draining"]

    pushed.run(scene, capacity=8, tasks=1)


def test_a_run_that_is_claimed_and_has_no_slot_yet_is_no_free_slot(pushed: Pushed) -> None:
    """Between the answer of a claim and the begin of its run, other runs may end: their slots alone are free."""
    offered: list[bool] = []

    async def scene() -> None:
        credits_ = await pushed.source.credits()
        for round_ in range(50):
            taken = [await pushed.offer(f"{round_}-{n}") is not None for n in range(4)]
            offered.append(sum(taken) <= credits_.capacity)
            for _ in range(round_ % 7):
                await asyncio.sleep(0)
            assert len(pushed.world.worker.runs) <= 3
        await asyncio.sleep(60)
        pushed.world.worker.shutdown(immediate=False, why="over")

    pushed.run(scene, capacity=3)
    assert all(offered)
    assert not pushed.world.platform.alive


@pytest.mark.parametrize("part", [ScriptedPeer.disconnect, ScriptedPeer.cancel])
def test_a_peer_that_leaves_at_any_moment_ends_its_run_at_once(
    pushed: Pushed, part: Callable[[ScriptedPeer], None]
) -> None:
    """Also between the claim and the begin of the run, and not only when the claim is renewed."""
    lasted: list[float] = []

    async def scene() -> None:
        peer = await pushed.dispatch("t", run_for=3600)
        for turns in range(60):
            for _ in range(turns):
                await asyncio.sleep(0)
            left_at = asyncio.get_running_loop().time()
            part(peer)
            peer = await pushed.dispatch(f"t{turns}", run_for=3600)  # waits for the slot
            lasted.append(asyncio.get_running_loop().time() - left_at)
        part(peer)
        pushed.world.worker.shutdown(immediate=False, why="over")

    pushed.run(scene)
    assert max(lasted) < 1
    assert not pushed.world.platform.alive


# ---- removal --------------------------------------------------------------------------------------------


@pytest.fixture
def slow_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removing what is left of a run takes a minute."""
    dispose = FakeResults.dispose

    async def slowly(results: FakeResults) -> None:
        await asyncio.sleep(60)
        await dispose(results)

    monkeypatch.setattr(FakeResults, "dispose", slowly)


@pytest.mark.usefixtures("slow_removal")
def test_what_is_dead_does_not_pile_up_and_is_waited_for(pushed: Pushed) -> None:
    """With one slot there are two runs at most; the slot of the third waits for the end of a removal."""
    ended: list[float] = []

    async def scene() -> None:
        for task_id in ("one", "two", "three"):
            peer = await pushed.dispatch(task_id)
            assert str(await peer.answered()) == "completed"
            ended.append(asyncio.get_running_loop().time())
            assert pushed.world.worker.load.busy + pushed.world.worker.load.removing <= 2

    pushed.run(scene, tasks=3)
    assert ended[1] - ended[0] < 1
    assert 59 < ended[2] - ended[0] < 61
    assert pushed.world.is_clean()


@pytest.mark.usefixtures("slow_removal")
def test_the_slot_of_a_claimed_run_is_free_during_a_long_removal(world: World) -> None:
    began: dict[str, float] = {}

    async def scene() -> None:
        for task_id in ("one", "two"):
            await world.submit(task_id)
        async for status in world.queue.watch("two"):
            if status.state == "resolved":
                began["two"] = asyncio.get_running_loop().time()
                assert world.platform.alive

    world.run(scene, stop_when=StopCondition(tasks=2))
    assert "one/0 vacated" in world.seen.moves
    assert world.is_clean()


def test_a_short_removal_does_not_vacate_its_slot(world: World) -> None:
    async def scene() -> None:
        await world.submit("t")
        await world.ended()

    world.run(scene)
    assert "t/0 vacated" not in world.seen.moves


def test_a_run_that_cannot_be_killed_is_answered_and_aborted(pushed: Pushed) -> None:
    async def scene() -> None:
        peer = await pushed.dispatch(run_for=6000, max_run_time=7200, fail_at="kill")
        await asyncio.sleep(60)
        peer.cancel()
        assert str(await peer.answered()) == "exception (canceled)"

    pushed.run(scene, tasks=1)
    assert pushed.world.platform.trace("t")[-2:] == ["kill", "abort"]


# ---- what a peer is told --------------------------------------------------------------------------------


def test_a_peer_is_told_everything_in_order(pushed: Pushed) -> None:
    async def scene() -> None:
        peer = await pushed.dispatch(log="tick\n", log_every=10, run_for=30, load_for=5)
        ending = await peer.answered()
        assert isinstance(ending, Resolution)
        assert [state for state, _ in peer.moves] == ["claimed", "loading", "running", "uploading"]
        assert [told for _, told in peer.moves] == [None, None, None, ending]
        log = b"".join(chunk for _, chunk in peer.log)
        assert log.decode() == pushed.world.log()
        sizes = [len(chunk) for _, chunk in peer.log]
        assert [offset for offset, _ in peer.log] == [sum(sizes[:n]) for n in range(len(sizes))]
        assert peer.told.index("log") < peer.told.index("answer") == len(peer.told) - 1
        assert {origin.stream for origin in peer.origins if origin} == {"worker", "stdout"}
        assert peer.steps[-1].done == 1

    pushed.run(scene, tasks=1)


def test_a_move_is_told_at_its_place_in_the_log(pushed: Pushed) -> None:
    async def scene() -> None:
        peer = await pushed.dispatch(log="the last words\n")
        peer.reads.clear()
        await asyncio.sleep(20)
        peer.reads.set()
        await peer.answered()
        before = peer.told[: [n for n, kind in enumerate(peer.told) if kind == "moved"][-1]].count("log")
        assert b"the last words" in b"".join(chunk for _, chunk in peer.log[:before])

    pushed.run(scene, tasks=1)


@pytest.mark.parametrize("what", ["moved", "progress", "send_log"])
def test_a_peer_that_hangs_in_one_call_still_gets_its_answer(pushed: Pushed, what: str) -> None:
    async def hang(*_: object) -> None:
        await asyncio.get_running_loop().create_future()

    async def scene() -> None:
        peer = await pushed.dispatch(log="hello\n", load_for=1)
        setattr(peer, what, hang)
        if what == "send_log":
            type(peer).send_log = ScriptedPeer.send_log  # it is still one that carries logs
        assert str(await peer.answered()) == "completed"

    began = len(pushed.slots)
    pushed.run(scene, tasks=1)
    assert began == 0
    assert "of the log: they were not taken within 30 s" in pushed.notes()


def test_a_peer_that_fails_to_take_its_log_gets_its_answer(pushed: Pushed) -> None:
    async def broken(*_: object) -> None:
        raise KeyError

    async def scene() -> None:
        peer = await pushed.dispatch(log="hello\n")
        peer.send_log = broken  # type: ignore[method-assign]
        assert str(await peer.answered()) == "completed"

    pushed.run(scene, tasks=1)
    assert "KeyError" in pushed.notes()


def test_a_mark_stands_where_the_rest_of_a_log_is_missing(pushed: Pushed) -> None:
    async def scene() -> None:
        peer = await pushed.dispatch(log="hello\n" * 1000)
        peer.reads.clear()
        await asyncio.sleep(limits.PEER_PATIENCE + 1)
        peer.reads.set()
        assert str(await peer.answered()) == "completed"
        assert b" bytes of the log are missing here: they were not taken within 30 s\n" in peer.log[-1][1]

    pushed.run(scene, tasks=1)


def test_a_slow_peer_is_given_up_when_the_machine_stops(pushed: Pushed) -> None:
    async def scene() -> None:
        peer = await pushed.dispatch(log="hello\n" * 1000)
        peer.reads.clear()
        await asyncio.sleep(5)
        pushed.world.host.leave(immediate=True, why="spot interruption", time_left=8.0)
        await asyncio.sleep(8)
        peer.reads.set()
        assert str(await peer.answered()) == "completed"

    pushed.run(scene)
    assert "they were not taken before the machine stopped" in pushed.notes()


def test_a_disconnect_ends_the_run_without_waiting_for_a_reclaim(pushed: Pushed) -> None:
    async def scene() -> None:
        peer = await pushed.dispatch(run_for=6000, max_run_time=7200)
        await asyncio.sleep(5)
        peer.disconnect("reset by peer")
        await asyncio.sleep(1)
        assert not pushed.world.worker.runs

    pushed.run(scene, tasks=1)
    assert str(pushed.world.seen.endings["t/0"]) == "exception (claim-expired)"
    assert "t/0 reclaim_failed" in pushed.world.seen.moves
    assert "t/0 cancel" not in pushed.world.seen.moves
    assert "reset by peer" in pushed.world.log()


def test_an_exception_is_answered_after_the_artifacts_that_are_kept(world: World) -> None:
    pushed = Pushed(world, store := MemoryStore())

    async def scene() -> None:
        files, deadline = {"report.xml": "<x/>"}, "2030-01-01T00:01:00Z"
        peer = await pushed.dispatch(files=files, artifacts=REPORT, run_for=600, deadline=deadline)
        assert str(await peer.answered()) == "exception (deadline-exceeded)"
        assert (RunKey("t", 0), "report.xml") in store.bodies

    pushed.run(scene, tasks=1)


# ---- artifacts ------------------------------------------------------------------------------------------


class FaultyStore(MemoryStore):
    """The store of a peer that takes nothing."""

    fault: Exception | None = None

    async def put(
        self,
        run: RunKey,
        name: str,
        body: AsyncIterator[bytes],
        *,
        size: int | None = None,
        content_type: str = "",
        content_encoding: str = "",
        expires: datetime | None = None,
    ) -> Artifact:
        if self.fault:
            raise self.fault
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


def test_artifacts_and_log_go_to_the_store_of_the_peer_and_to_ours(world: World) -> None:
    pushed = Pushed(world, store := MemoryStore())

    async def scene() -> None:
        peer = await pushed.dispatch(files={"report.xml": "<x/>"}, artifacts=REPORT)
        assert str(await peer.answered()) == "completed"

    pushed.run(scene, tasks=1)
    assert store.bodies[RunKey("t", 0), "report.xml"] == world.store.bodies[RunKey("t", 0), "report.xml"] == b"<x/>"
    assert store.log(RunKey("t", 0)) == world.store.log(RunKey("t", 0)) == world.log()


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (TaskFailedInternally("403 Forbidden"), "its peer has not taken report.xml: 403 Forbidden"),
        (Unavailable("503"), "its peer has not taken report.xml: 503"),
        (KeyError("url"), "its peer has not taken report.xml: 'url'"),
        (None, "its peer has not taken report.xml any further for 300 s"),
    ],
)
def test_a_store_of_a_peer_that_fails_is_its_own_loss(world: World, fault: Exception | None, why: str) -> None:
    pushed = Pushed(world, store := FaultyStore())
    store.fault = fault

    async def scene() -> None:
        peer = await pushed.dispatch(files={"report.xml": "<x/>"}, artifacts=REPORT)
        ending = await peer.answered()
        assert isinstance(ending, Resolution)
        assert (str(ending), ending.message) == ("exception (resource-unavailable)", why)

    pushed.run(scene, tasks=1)
    assert world.store.bodies[RunKey("t", 0), "report.xml"] == b"<x/>"
    assert world.store.log(RunKey("t", 0))
    assert why in pushed.notes()


# ---- rejections -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["check", "load"])
def test_a_rejected_run_costs_no_retry_and_comes_back_after_the_delay(world: World, stage: str) -> None:
    async def scene() -> None:
        await world.submit("t", retries=0, fail_at=stage, error="reject")
        await asyncio.sleep(200)
        status = await world.queue.status("t")
        assert status.state in {"pending", "running"}
        assert len(status.runs) == 4  # at 0, 60, 120 and 180 seconds
        assert status.runs[0].resolution
        assert f"the script says so, at {stage}" in status.runs[0].resolution.message
        world.host.leave(immediate=True)

    world.run(scene)


def test_a_rejection_after_the_command_has_begun_ends_the_run(world: World) -> None:
    async def scene() -> None:
        await world.submit("t", fail_at="wait", error="reject")
        status = await world.ended()
        assert str(status.resolution) == "exception (resource-unavailable)"

    world.run(scene)


def test_a_shutdown_while_loading_releases_the_run(world: World) -> None:
    async def scene() -> None:
        await world.submit("t", retries=0, load_for=600)
        await asyncio.sleep(30)
        world.host.leave(immediate=True, why="spot interruption")
        await asyncio.sleep(30)
        assert (await world.queue.status("t")).state == "pending"

    world.run(scene)
    assert str(world.seen.endings["t/0"]) == "exception (worker-shutdown)"


# ---- a queue with watchers ------------------------------------------------------------------------------


def test_a_queue_with_watchers_is_told_moves_and_progress(world: World) -> None:
    told: list[str] = []

    class Watched(ForwardingQueue):
        async def moved(self, claim: object, move: Move, ending: Resolution | None) -> None:
            told.append(f"{move.target} {ending}")

    async def scene() -> None:
        await world.submit("t", exit_code=3)
        await world.ended()

    world.run(scene, wrap=Watched)
    assert told == ["claimed None", "loading None", "running None", "uploading failed (exit-code)"]


def test_the_note_of_a_run_ends_with_its_journal(world: World, tmp_path: Path) -> None:
    """A run that was answered in order has no note."""

    async def scene() -> None:
        await world.submit("t")
        await world.ended()

    world.run(scene)
    assert not [record for record in read_journal(tmp_path / "runs/t/0/journal.jsonl") if record.kind == "note"]
