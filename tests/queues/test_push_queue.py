import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from taskrunner.errors import Bug, ClaimLost, Conflict, Unavailable
from taskrunner.model import COMPLETED, Claim, Notice, Submission, exception, failed
from taskrunner.queues.push import pushed_run
from taskrunner.queues.push.queue import PushQueue
from taskrunner.testing import clock
from taskrunner.testing.fakes.artifacts import MemoryStore
from taskrunner.testing.fakes.push_source import ScriptedPeer, ScriptedSource

LONG = 600.0

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
    yield source, queue
    await queue.close()


async def running(source: ScriptedSource, queue: PushQueue, task_id: str = "one") -> tuple[Claim, ScriptedPeer]:
    """A run that was dispatched and claimed."""
    claiming = asyncio.create_task(queue.claim(1, lease=LONG, wait=LONG))
    peer = await source.dispatch(Submission(task_id, {"task": task_id}))
    [claim] = await claiming
    return claim, peer


@scenario
async def test_a_claim_grants_an_offered_run(source: ScriptedSource, queue: PushQueue) -> None:
    claim, _ = await running(source, queue)
    assert (claim.task_id, claim.run_id, claim.worker_id) == ("one", 0, "alice")
    assert claim.document == {"task": "one"}
    assert claim.valid_until is claim.taken_until is None
    assert await queue.reclaim(claim, lease=1) == claim


@scenario
async def test_an_offer_without_credit_is_refused(source: ScriptedSource, queue: PushQueue) -> None:
    claiming = asyncio.create_task(queue.claim(2, lease=LONG, wait=LONG))
    credits_ = await source.credits()
    assert credits_.free == 2
    offered = [await source.offer(Submission(task_id, {})) for task_id in ("one", "two", "three")]
    assert [peer is not None for peer in offered] == [True, True, False]
    assert credits_.free == 0
    assert [claim.task_id for claim in await claiming] == ["one", "two"]
    assert await source.offer(Submission("four", {})) is None


@scenario
async def test_credits_end_with_the_claim(source: ScriptedSource, queue: PushQueue) -> None:
    began = asyncio.get_running_loop().time()
    assert not await queue.claim(3, lease=LONG, wait=5)
    assert asyncio.get_running_loop().time() - began == pytest.approx(5, abs=0.001)
    assert (await source.credits()).free == 0


@scenario
async def test_the_credits_of_several_claims_add_up(source: ScriptedSource, queue: PushQueue) -> None:
    claiming = [asyncio.create_task(queue.claim(n, lease=LONG, wait=LONG)) for n in (1, 2)]
    credits_ = await source.credits()
    await asyncio.sleep(0)
    assert credits_.free == 3
    await source.dispatch(Submission("one", {}))
    await source.dispatch(Submission("two", {}))
    got = [claim.task_id for claims in await asyncio.gather(*claiming) for claim in claims]
    assert sorted(got) == ["one", "two"]


@scenario
async def test_a_task_that_runs_is_not_accepted_again(source: ScriptedSource, queue: PushQueue) -> None:
    claim, _ = await running(source, queue)
    claiming = asyncio.create_task(queue.claim(1, lease=LONG, wait=LONG))
    await asyncio.sleep(0)
    assert await source.offer(Submission("one", {})) is None
    await queue.resolve(claim, COMPLETED)
    await source.dispatch(Submission("one", {}))
    [again] = await claiming
    assert again.run_id == 1


@scenario
async def test_a_malformed_submission_is_refused(source: ScriptedSource, queue: PushQueue) -> None:
    claiming = asyncio.create_task(queue.claim(1, lease=LONG, wait=5))
    assert await source.offer(Submission("../etc", {})) is None
    assert (await source.credits()).free == 1
    assert not await claiming


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
async def test_an_answer_over_its_limit_is_unavailable_and_goes_on(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    peer.reads.clear()
    with pytest.raises(Unavailable):
        await queue.resolve(claim, COMPLETED)
    resolving = asyncio.create_task(queue.resolve(claim, COMPLETED))
    await asyncio.sleep(1)
    resolving.cancel()
    peer.reads.set()
    assert await peer.answered() == COMPLETED
    assert await queue.resolve(claim, COMPLETED) == "already-so"
    assert peer.answers == [COMPLETED]


@scenario
async def test_a_release_is_a_refusal_without_delay(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    assert queue.capabilities.max_release_delay == 0
    assert [await queue.release(claim, delay=60, reason="no disk") for _ in range(2)] == [0, 0]
    assert peer.refusals == ["no disk"]
    with pytest.raises(ClaimLost):
        await queue.resolve(claim, COMPLETED)


@scenario
async def test_a_disconnect_loses_the_claim(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    notices = queue.notices()
    peer.disconnect("reset by peer")
    assert await anext(notices) == Notice("cancel", "one", "reset by peer")
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
    notices = queue.notices()
    assert queue.capabilities.answers_cancel
    peer.cancel("a newer one is there")
    assert await anext(notices) == Notice("cancel", "one", "a newer one is there")
    with pytest.raises(ClaimLost, match="canceled"):  # a worker that missed the notice learns it here
        await queue.reclaim(claim, lease=1)
    ending = exception("canceled", "a newer one is there")
    assert await queue.resolve(claim, ending) == "applied"
    assert peer.answers == [ending]


@scenario
async def test_a_cancelled_claim_hands_its_runs_back(source: ScriptedSource, queue: PushQueue) -> None:
    claiming = asyncio.create_task(queue.claim(3, lease=LONG, wait=LONG))
    peers = [await source.dispatch(Submission(task_id, {})) for task_id in ("one", "two", "three")]
    peers[1].cancel()
    peers[2].disconnect()
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    assert await peers[0].answered() == "the worker stopped waiting for runs"
    assert await peers[1].answered() == exception("canceled", "canceled before it began")
    assert (peers[2].answers, peers[2].refusals) == ([], [])


@scenario
async def test_a_run_that_was_lost_before_its_claim_is_not_granted(source: ScriptedSource, queue: PushQueue) -> None:
    claiming = asyncio.create_task(queue.claim(3, lease=LONG, wait=LONG))
    peers = [await source.dispatch(Submission(task_id, {})) for task_id in ("one", "two", "three")]
    peers[0].disconnect()
    peers[1].cancel()
    assert [claim.task_id for claim in await claiming] == ["three"]
    assert str(await peers[1].answered()) == "exception (canceled)"


@scenario
async def test_a_claim_of_an_earlier_worker_is_lost(source: ScriptedSource, queue: PushQueue) -> None:
    journaled = Claim("one", 0, {}, "alice", "an earlier token")
    with pytest.raises(ClaimLost, match="disconnected"):
        await queue.release(journaled, delay=0, reason="worker-shutdown")
    await queue.append_log(journaled, 0, b"dropped")
    assert queue.artifacts(journaled) is None


@scenario
async def test_the_log_reaches_the_peer_in_order_and_before_the_answer(
    source: ScriptedSource, queue: PushQueue
) -> None:
    claim, peer = await running(source, queue)
    pieces = [(number * 4, b"%03d\n" % number) for number in range(100)]
    for offset, piece in pieces:
        await queue.append_log(claim, offset, piece)
    await queue.resolve(claim, COMPLETED)
    assert peer.log == pieces
    await queue.append_log(claim, 400, b"too late")
    assert len(peer.log) == 100


@scenario
async def test_a_peer_that_does_not_read_its_log_blocks_nothing(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    peer.reads.clear()
    began = asyncio.get_running_loop().time()
    for number in range(1000):
        await queue.append_log(claim, number * 65536, bytes(65536))
    assert asyncio.get_running_loop().time() == began
    resolving = asyncio.create_task(queue.resolve(claim, COMPLETED))
    await asyncio.sleep(pushed_run.FLUSH_LIMIT + 1)
    peer.reads.set()
    assert await resolving == "applied"
    assert sum(len(piece) for _, piece in peer.log) <= pushed_run.MAX_LOG_WAITING + 65536


@scenario
async def test_a_peer_that_fails_to_take_its_log_is_answered(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)

    async def broken(offset: int, chunk: bytes) -> None:
        raise KeyError(offset)

    peer.send_log = broken  # type: ignore[method-assign]
    await queue.append_log(claim, 0, b"line\n")
    assert await queue.resolve(claim, COMPLETED) == "applied"
    assert peer.answers == [COMPLETED]


@scenario
async def test_artifacts_go_to_the_store_of_the_peer(source: ScriptedSource, queue: PushQueue) -> None:
    claim, peer = await running(source, queue)
    assert queue.artifacts(claim) is peer.artifacts() is not None


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


def test_run_ids_rise_and_the_number_of_remembered_ones_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushed_run, "MAX_RUN_IDS", 2)
    run_ids = pushed_run.RunIds()
    assert [run_ids.next(task_id) for task_id in ("a", "b", "a", "a", "c", "a", "b")] == [0, 0, 1, 2, 0, 3, 0]
