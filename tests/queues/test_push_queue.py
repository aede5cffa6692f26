import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from taskrunner import limits
from taskrunner.errors import Bug, ClaimLost, Conflict, Unavailable
from taskrunner.interfaces.push import Offer, OfferRefused, Peer, Taken
from taskrunner.interfaces.queue import Slots
from taskrunner.model import (
    COMPLETED,
    Claim,
    Health,
    Move,
    Notice,
    Progress,
    Resolution,
    RunKey,
    Submission,
    exception,
    failed,
)
from taskrunner.queues.push.queue import PushQueue
from taskrunner.queues.push.run_ids import BLOCK, RunIds
from taskrunner.testing import clock
from taskrunner.testing.fakes.artifacts import MemoryStore
from taskrunner.testing.fakes.push_source import ScriptedPeer, ScriptedSource

LONG = 600.0
FIT = Health(fit=True)
UPLOADING = Move("running", "exited", "uploading")

Scenario = Callable[[ScriptedSource, PushQueue], Coroutine[Any, Any, None]]


def scenario(test: Scenario) -> Callable[[], None]:
    """A test in virtual time, with a source and its queue."""

    async def main() -> None:
        async with served() as (source, queue):
            await test(source, queue)

    def run() -> None:
        clock.run(main())

    run.__name__ = test.__name__
    return run


@asynccontextmanager
async def served() -> AsyncIterator[tuple[ScriptedSource, PushQueue]]:
    source = ScriptedSource(MemoryStore())
    queue = PushQueue(source, "alice")
    queue.offer_slots(Slots(8, 8, FIT))
    yield source, queue
    await queue.close()


async def running(source: ScriptedSource, queue: PushQueue, task_id: str = "one") -> tuple[Claim, ScriptedPeer]:
    """A run that was dispatched and claimed. All slots are free afterwards."""
    claiming = asyncio.create_task(queue.claim(1, lease=LONG, wait=LONG))
    peer = await source.dispatch(Submission(task_id, {"task": task_id}))
    [claim] = await claiming
    queue.offer_slots(Slots(8, 8, FIT))
    return claim, peer


@scenario
async def test_a_claim_grants_an_offered_run(source: ScriptedSource, queue: PushQueue) -> None:
    claim, _ = await running(source, queue)
    assert (claim.task_id, claim.run_id, claim.worker_id) == ("one", 0, "alice")
    assert claim.document == {"task": "one"}
    assert claim.valid_until is claim.taken_until is None
    assert await queue.reclaim(claim, lease=1) == claim


@scenario
async def test_every_free_slot_takes_an_offer_and_no_more(source: ScriptedSource, queue: PushQueue) -> None:
    credits_ = await source.credits()
    assert (credits_.capacity, credits_.free, credits_.busy, credits_.fit) == (8, 8, 0, FIT)
    peers = [await source.offer(Submission(f"t{n}", {})) for n in range(9)]
    assert [peer is not None for peer in peers] == [True] * 8 + [False]
    assert source.refused == [OfferRefused("busy", "all slots of this worker are taken: 8")]
    assert (credits_.free, credits_.busy) == (0, 8)
    assert [claim.task_id for claim in await queue.claim(8, lease=LONG, wait=LONG)] == [f"t{n}" for n in range(8)]


@scenario
async def test_slots_stay_taken_until_the_worker_says_otherwise(source: ScriptedSource, queue: PushQueue) -> None:
    await source.dispatch(Submission("one", {}))
    await queue.claim(1, lease=LONG, wait=LONG)
    credits_ = await source.credits()
    assert credits_.free == 7
    queue.offer_slots(Slots(8, 7, FIT))
    assert credits_.free == 7
    queue.offer_slots(Slots(8, 8, FIT))
    assert credits_.free == 8


@scenario
async def test_an_offer_waits_for_the_next_claim(source: ScriptedSource, queue: PushQueue) -> None:
    assert not await queue.claim(1, lease=LONG, wait=5)
    await source.dispatch(Submission("one", {}))
    began = asyncio.get_running_loop().time()
    [claim] = await queue.claim(1, lease=LONG, wait=LONG)
    assert (claim.task_id, asyncio.get_running_loop().time()) == ("one", began)


@scenario
async def test_a_claim_grants_no_more_than_it_asks_for(source: ScriptedSource, queue: PushQueue) -> None:
    for task_id in ("one", "two", "three"):
        await source.dispatch(Submission(task_id, {}))
    assert [len(await queue.claim(2, lease=LONG, wait=LONG)) for _ in range(2)] == [2, 1]


@scenario
async def test_a_claim_waits_for_its_time_and_no_longer(source: ScriptedSource, queue: PushQueue) -> None:
    began = asyncio.get_running_loop().time()
    assert not await queue.claim(3, lease=LONG, wait=5)
    assert asyncio.get_running_loop().time() - began == pytest.approx(5, abs=0.001)


@pytest.mark.parametrize(
    ("slots", "reason", "why"),
    [
        (Slots(8, 8, Health(fit=False, why="the disk is full")), "unfit", "the disk is full"),
        (Slots(8, 8, FIT, "the worker is stopping: SIGTERM"), "draining", "the worker is stopping: SIGTERM"),
        (Slots(8, 0, FIT), "busy", "all slots of this worker are taken: 8"),
    ],
)
def test_an_offer_is_refused_with_its_reason(slots: Slots, reason: str, why: str) -> None:
    async def main() -> None:
        async with served() as (source, queue):
            queue.offer_slots(slots)
            assert await source.offer(Submission("one", {})) is None
            [refused] = source.refused
            assert (refused.reason, refused.why) == (reason, why)
            credits_ = await source.credits()
            assert (credits_.free, credits_.fit.fit) == (0, reason == "busy")

    clock.run(main())


@pytest.mark.parametrize(
    ("slots", "refusal"),
    [
        (Slots(8, 8, Health(fit=False, why="the disk is full")), ("unfit", "the disk is full")),
        (Slots(8, 8, FIT, "the worker is stopping: SIGTERM"), ("draining", "the worker is stopping: SIGTERM")),
    ],
)
def test_a_run_that_waits_for_a_claim_is_refused_when_none_will_come(slots: Slots, refusal: tuple[str, str]) -> None:
    async def main() -> None:
        async with served() as (source, queue):
            peer = await source.dispatch(Submission("one", {}))
            queue.offer_slots(slots)
            await peer.answered()
            assert peer.refusals == [refusal]
            queue.offer_slots(Slots(8, 8, FIT))
            assert not await queue.claim(1, lease=LONG, wait=1)
            assert await source.offer(Submission("one", {}))

    clock.run(main())


def test_before_the_worker_has_booted_an_offer_is_refused() -> None:
    offer = Offer(Submission("one", {}), ScriptedPeer("one"))
    assert PushQueue(ScriptedSource()).offer(offer) == OfferRefused("unfit", "the worker is starting")


@scenario
async def test_a_task_that_runs_is_not_taken_again(source: ScriptedSource, queue: PushQueue) -> None:
    claim, _ = await running(source, queue)
    assert await source.offer(Submission("one", {})) is None
    assert source.refused == [OfferRefused("known", "the task one runs here already")]
    await queue.resolve(claim, COMPLETED)
    await source.dispatch(Submission("one", {}))
    [again] = await queue.claim(1, lease=LONG, wait=LONG)
    assert again.run_id == 1


@scenario
async def test_a_malformed_submission_is_refused(source: ScriptedSource, queue: PushQueue) -> None:
    assert await source.offer(Submission("../etc", {})) is None
    assert await source.offer(Submission("one", {"text": "x" * (2 << 20)})) is None
    assert [(refused.reason, refused.why.split(":")[0]) for refused in source.refused] == [
        ("malformed", "task_id"), ("malformed", "document"),
    ]  # fmt: skip
    assert (await source.credits()).free == 8


@scenario
async def test_the_answer_is_sent_once(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    ending = failed("exit-code", "it returned 1")
    assert await queue.resolve(claim, ending) == "applied"
    assert await queue.resolve(claim, ending) == "already-so"
    with pytest.raises(Conflict):
        await queue.resolve(claim, COMPLETED)
    with pytest.raises(ClaimLost):
        await queue.reclaim(claim, lease=1)
    with pytest.raises(ClaimLost):
        await queue.release(claim, delay=0, reason="too late")
    assert peer.answers == [ending]
    assert peer.refusals == []


@scenario
async def test_a_peer_that_does_not_take_its_answer_is_left_to_itself(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    peer.reads.clear()
    began = asyncio.get_running_loop().time()
    assert await queue.resolve(claim, COMPLETED) == "unanswered"
    assert asyncio.get_running_loop().time() - began == pytest.approx(limits.PEER_PATIENCE, abs=0.1)
    assert await queue.resolve(claim, COMPLETED) == "unanswered"
    peer.reads.set()
    await asyncio.sleep(60)
    assert peer.answers == []
    assert await source.offer(Submission("one", {}))


@scenario
async def test_an_answer_goes_on_when_its_caller_is_cancelled(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    peer.reads.clear()
    resolving = asyncio.create_task(queue.resolve(claim, COMPLETED))
    await asyncio.sleep(1)
    resolving.cancel()
    peer.reads.set()
    assert await peer.answered() == COMPLETED
    assert await queue.resolve(claim, COMPLETED) == "already-so"
    assert peer.answers == [COMPLETED]


@scenario
async def test_an_answer_is_sent_again_while_its_peer_is_unavailable(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    tries: list[str] = []
    answer = peer.answer

    async def unavailable_twice(resolution: Resolution) -> None:
        tries.append(str(resolution))
        if len(tries) < 3:
            raise Unavailable("the stream is full")
        await answer(resolution)

    peer.answer = unavailable_twice  # type: ignore[method-assign]
    assert await queue.resolve(claim, COMPLETED) == "applied"
    assert (len(tries), peer.answers) == (3, [COMPLETED])


@scenario
async def test_a_bug_of_a_source_leaves_its_peer_unanswered(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)

    async def broken(resolution: Resolution) -> None:
        raise KeyError(resolution.kind)

    peer.answer = broken  # type: ignore[method-assign]
    assert await queue.resolve(claim, COMPLETED) == "unanswered"


@scenario
async def test_a_refusal_that_is_not_taken_has_a_limit(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    peer.reads.clear()
    assert await queue.release(claim, delay=0, reason="resource-unavailable", message="no disk") == 0


@scenario
async def test_a_release_is_a_refusal_without_delay(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    assert queue.capabilities.max_release_delay == 0
    calls = [await queue.release(claim, delay=60, reason="resource-unavailable", message="no disk") for _ in range(2)]
    assert calls == [0, 0]
    assert peer.refusals == [("resource-unavailable", "no disk")]
    with pytest.raises(ClaimLost):
        await queue.resolve(claim, COMPLETED)


@scenario
async def test_a_disconnect_loses_the_claim(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    notices = await queue.notices()
    peer.disconnect("reset by peer")
    assert await anext(notices) == Notice("reclaim", "one", "reset by peer")
    for call in (
        queue.reclaim(claim, lease=1),
        queue.resolve(claim, COMPLETED),
        queue.release(claim, delay=0, reason=""),
    ):
        with pytest.raises(ClaimLost, match="disconnected"):
            await call
    assert (peer.answers, peer.refusals) == ([], [])


@scenario
async def test_a_disconnect_in_the_answer_loses_the_claim(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    peer.reads.clear()
    resolving = asyncio.create_task(queue.resolve(claim, COMPLETED))
    await asyncio.sleep(1)
    peer.disconnect()
    peer.reads.set()
    with pytest.raises(ClaimLost, match="disconnected"):
        await resolving


@scenario
async def test_a_cancelled_run_is_lost_and_still_answered(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    notices = await queue.notices()
    assert queue.capabilities.answers_cancel
    peer.cancel("a newer one is there")
    assert await anext(notices) == Notice("cancel", "one", "a newer one is there")
    with pytest.raises(ClaimLost, match="canceled"):  # a worker that missed the notice learns it here
        await queue.reclaim(claim, lease=1)
    ending = exception("canceled", "a newer one is there")
    assert await queue.resolve(claim, ending) == "applied"
    assert peer.answers == [ending]


@scenario
async def test_a_cancelled_claim_loses_no_run(source: ScriptedSource, queue: PushQueue) -> None:
    claiming = asyncio.create_task(queue.claim(1, lease=LONG, wait=LONG))
    await asyncio.sleep(1)
    await source.dispatch(Submission("one", {}))
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    [claim] = await queue.claim(1, lease=LONG, wait=0)
    assert claim.task_id == "one"


@scenario
async def test_a_run_that_was_lost_before_its_claim_is_not_granted(source: ScriptedSource, queue: PushQueue) -> None:
    peers = [await source.dispatch(Submission(task_id, {})) for task_id in ("one", "two", "three")]
    peers[0].disconnect()
    peers[1].cancel("a newer one is there")
    assert [claim.task_id for claim in await queue.claim(3, lease=LONG, wait=LONG)] == ["three"]
    assert await peers[1].answered() == exception("canceled", "canceled before it began: a newer one is there")
    assert (peers[0].answers, peers[0].refusals) == ([], [])


@scenario
async def test_a_claim_of_an_earlier_worker_is_lost(source: ScriptedSource, queue: PushQueue) -> None:
    journaled = Claim("one", 0, {}, "alice", "an earlier token")
    with pytest.raises(ClaimLost, match="disconnected"):
        await queue.release(journaled, delay=0, reason="worker-shutdown")
    with pytest.raises(ClaimLost, match="disconnected"):
        await queue.append_log(journaled, 0, b"dropped")
    assert queue.artifacts(lambda: journaled) is None


@scenario
async def test_a_peer_is_told_in_order(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    await queue.moved(claim, Move("", "claim", "claimed"), None)
    await queue.append_log(claim, 0, b"line\n")
    await queue.progress(claim, Progress("load", 1))
    await queue.moved(claim, UPLOADING, COMPLETED)
    await queue.resolve(claim, COMPLETED)
    assert peer.told == ["moved", "log", "progress", "moved", "answer"]
    assert peer.moves == [("claimed", None), ("uploading", COMPLETED)]
    assert (peer.log, peer.steps) == ([(0, b"line\n")], [Progress("load", 1)])


@scenario
async def test_a_piece_of_the_log_waits_for_a_slow_peer(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    peer.reads.clear()
    sending = asyncio.create_task(queue.append_log(claim, 0, b"line\n"))
    await asyncio.sleep(3600)
    assert not sending.done()
    peer.reads.set()
    await sending
    assert peer.log == [(0, b"line\n")]


@scenario
async def test_a_disconnect_ends_a_call_that_waits_for_the_peer(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    peer.reads.clear()
    sending = asyncio.create_task(queue.append_log(claim, 0, b"line\n"))
    await asyncio.sleep(1)
    peer.disconnect()
    with pytest.raises(ClaimLost, match="disconnected"):
        await sending


@scenario
async def test_a_run_that_its_source_keeps_goes_on_with_another_peer(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    await queue.moved(claim, Move("loading", "loaded", "running"), None)
    peer.leave()
    assert await queue.reclaim(claim, lease=1) == claim
    sending = asyncio.create_task(queue.append_log(claim, 0, b"line\n"))
    await asyncio.sleep(3600)
    assert not sending.done()
    second = await source.return_to(claim.run)
    await sending
    assert second
    assert second.told == ["moved", "log"]
    assert second.moves == [("running", None)]
    assert await queue.resolve(claim, COMPLETED) == "applied"
    assert (peer.answers, second.answers) == ([], [COMPLETED])


@scenario
async def test_the_answer_of_a_run_without_a_peer_is_kept_for_each_one_that_comes(
    source: ScriptedSource, queue: PushQueue
) -> None:
    claim, peer = await running(source, queue)
    peer.leave()
    await queue.moved(claim, UPLOADING, COMPLETED)
    assert await queue.resolve(claim, COMPLETED) == "applied"
    for _ in range(2):
        late = await source.return_to(claim.run)
        assert late
        assert await late.answered() == COMPLETED
        assert late.moves == [("uploading", COMPLETED)]
    assert await source.return_to(RunKey("two", 0)) is None


@scenario
async def test_a_peer_that_leaves_in_the_middle_of_its_answer_may_be_replaced(
    source: ScriptedSource, queue: PushQueue
) -> None:
    claim, peer = await running(source, queue)
    peer.reads.clear()
    resolving = asyncio.create_task(queue.resolve(claim, COMPLETED))
    await asyncio.sleep(1)
    peer.leave()
    assert await resolving == "applied"
    late = await source.return_to(claim.run)
    assert late
    assert await late.answered() == COMPLETED


@scenario
async def test_a_peer_without_a_log_holds_up_nothing_while_it_is_away(source: ScriptedSource, queue: PushQueue) -> None:
    class Silent(Peer):
        async def answer(self, resolution: Resolution) -> None: ...
        async def refuse(self, reason: str, message: str) -> None: ...

    assert isinstance(queue.offer(Offer(Submission("one", {}), Silent())), Taken)
    [claim] = await queue.claim(1, lease=LONG, wait=0)
    assert queue.detach(claim.run)
    await queue.append_log(claim, 0, b"line\n")
    await queue.moved(claim, UPLOADING, COMPLETED)
    await queue.progress(claim, Progress("load", 1))
    assert not queue.detach(RunKey("two", 0))


@scenario
async def test_a_source_can_drain_its_worker(source: ScriptedSource, queue: PushQueue) -> None:
    notices = await queue.notices()
    (await source.credits()).drain("the launcher closed")
    assert await anext(notices) == Notice("drain", message="the launcher closed")


@scenario
async def test_artifacts_go_to_the_store_of_the_peer(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    assert queue.artifacts(lambda: claim) is peer.artifacts() is not None


@scenario
async def test_a_source_that_cannot_listen_is_unavailable_and_is_restarted(
    source: ScriptedSource, queue: PushQueue
) -> None:
    claiming = asyncio.create_task(queue.claim(1, lease=LONG, wait=LONG))
    await source.credits()
    source.fail(Unavailable("the port is taken"))
    with pytest.raises(Unavailable, match="the port is taken"):
        await claiming
    claim, _ = await running(source, queue)
    assert claim.task_id == "one"


@scenario
async def test_a_run_is_granted_although_its_source_has_ended(source: ScriptedSource, queue: PushQueue) -> None:
    await source.dispatch(Submission("one", {}))
    source.fail(Unavailable("the port is taken"))
    await asyncio.sleep(1)
    [claim] = await queue.claim(1, lease=LONG, wait=0)
    assert claim.task_id == "one"


@scenario
async def test_closing_ends_the_source_and_waiting_claims(source: ScriptedSource, queue: PushQueue) -> None:
    claiming = asyncio.create_task(queue.claim(1, lease=LONG, wait=LONG))
    await source.credits()
    await queue.close()
    with pytest.raises(Unavailable, match="has ended"):
        await claiming
    await queue.close()


@scenario
async def test_a_claim_of_no_run_is_a_bug(source: ScriptedSource, queue: PushQueue) -> None:
    with pytest.raises(Bug):
        await queue.claim(0, lease=1, wait=0)


@scenario
async def test_the_number_of_remembered_runs_is_bounded(source: ScriptedSource, queue: PushQueue) -> None:
    for number in range(1100):
        claim, peer = await running(source, queue, f"task-{number}")
        if number % 2:
            await queue.resolve(claim, COMPLETED)
        else:
            peer.disconnect()
    assert not queue._running
    assert len(queue._finished) == 1000


# ---- run ids --------------------------------------------------------------------------------------------


def test_run_ids_never_repeat_after_a_restart(tmp_path: Path) -> None:
    seen: list[int] = []
    for _ in range(3):
        run_ids = RunIds(tmp_path / "push-run-id")
        seen += [run_ids.next() for _ in range(BLOCK + 5)]
    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen)
    assert (tmp_path / "push-run-id").stat().st_size == 20


def test_two_workers_of_a_home_never_give_the_same_run_id(tmp_path: Path) -> None:
    workers = [RunIds(tmp_path / "push-run-id") for _ in range(2)]
    seen = [worker.next() for _ in range(BLOCK * 2) for worker in workers]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("content", ["x", "12 monkeys"])
def test_a_broken_file_of_run_ids_refuses_offers_and_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "push-run-id").write_text(content)

    async def main() -> None:
        queue = PushQueue(ScriptedSource(), home=tmp_path)
        queue.offer_slots(Slots(1, 1, FIT))
        outcome = queue.offer(Offer(Submission("one", {}), ScriptedPeer("one")))
        assert isinstance(outcome, OfferRefused)
        assert outcome.reason == "unfit"
        assert "push-run-id" in outcome.why
        assert "write into it a number" in outcome.why
        await queue.close()

    clock.run(main())


def test_a_taken_run_has_the_key_of_its_claim(tmp_path: Path) -> None:
    async def main() -> None:
        queue = PushQueue(ScriptedSource(), home=tmp_path)
        queue.offer_slots(Slots(2, 2, FIT))
        for number, task_id in enumerate(("one", "two")):
            assert queue.offer(Offer(Submission(task_id, {}), ScriptedPeer(task_id))) == Taken(RunKey(task_id, number))
        await queue.close()

    clock.run(main())
