import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskrunner.errors import Bug, ClaimLost, UnknownTask
from taskrunner.model import COMPLETED, Claim, Submission
from taskrunner.queues.ledger import claims, expiry, retention, retries, runs, tasks
from taskrunner.queues.ledger import queue as ledger_queue
from taskrunner.queues.ledger.database import Changes, Ledger
from taskrunner.queues.memory import MemoryQueue
from taskrunner.testing import clock
from tests.queues.test_memory_queue import TestMemoryQueue as MemorySuite

LONG = 600.0


def nothing(*_: Any, **__: Any) -> None:
    """A function that is left out."""


def any_held_run(ledger: Ledger, held: Claim) -> Any:
    run = {"seq": ledger.db.execute("SELECT seq FROM task WHERE id = ?", (held.task_id,)).fetchone()["seq"]}
    return run | {"run_id": held.run_id, "ended_by": None, "last_run_id": held.run_id}


FAULTS: dict[str, tuple[object, str, Callable[..., Any], list[str]]] = {
    "a stale claim is believed": (
        claims,
        "_find",
        any_held_run,
        [
            "test_reclaim_after_takeover_is_refused",
            "test_resolve_after_takeover_is_refused_and_changes_nothing",
            "test_release_after_takeover_is_refused",
            "test_a_stale_reclaim_does_not_shorten_the_lease_of_the_new_owner",
            "test_a_claim_that_was_resolved_cannot_be_used",
            "test_resolving_again_another_way_is_a_conflict",
            "test_resolving_again_the_same_way_is_already_so",
            "test_when_a_cancellation_meets_a_resolution_one_wins_for_all",
        ],
    ),
    "a run that ended is believed to be held": (
        claims,
        "_check_held",
        nothing,
        ["test_a_cancelled_run_is_lost_even_when_no_notice_arrives"],
    ),
    "a reclaim extends nothing": (
        claims,
        "reclaim",
        lambda ledger, held, lease: held,
        ["test_reclaim_keeps_others_out", "test_a_reclaim_that_succeeds_after_expiry_holds_the_whole_lease"],
    ),
    "leases never end": (
        expiry,
        "_expire_claims",
        nothing,
        ["test_run_ids_rise", "test_a_task_whose_workers_all_die_is_resolved"],
    ),
    "changes are not published": (
        MemoryQueue,
        "publish",
        nothing,
        ["test_a_cancellation_is_pushed_to_its_worker_and_to_no_other"],
    ),
    "everything is retried": (
        runs,
        "is_retried",
        lambda resolution, left: True,
        ["test_another_reason_makes_no_new_run", "test_the_reasons_in_retried_make_a_new_run"],
    ),
    "nothing is retried": (
        runs,
        "is_retried",
        lambda resolution, left: False,
        ["test_the_reasons_in_retried_make_a_new_run", "test_run_ids_rise"],
    ),
    "a delay is forgotten": (
        claims,
        "make_pending",
        lambda ledger, seq, delay: runs.make_pending(ledger, seq, delay=0),
        ["test_a_released_run_comes_back_after_its_delay"],
    ),
    "the document is not checked": (
        ledger_queue,
        "check_submission",
        lambda submission: "{}",
        [
            "test_submitting_something_else_by_the_same_id_is_a_conflict",
            "test_a_document_that_is_too_large_is_refused",
        ],
    ),
    "a cancelled task stays": (
        tasks,
        "end_task",
        nothing,
        ["test_a_cancelled_task_never_runs"],
    ),
    "not_before is forgotten": (
        tasks,
        "seconds",
        lambda moment: None,
        ["test_not_before_is_respected", "test_a_task_that_is_not_claimed_before_its_deadline_is_resolved"],
    ),
    "the only task is forgotten": (
        MemoryQueue,
        "claim_only",
        nothing,
        ["test_one_task_alone_is_claimed_where_that_is_supported"],
    ),
    "priority is forgotten": (
        claims,
        "_next_ready",
        lambda ledger, n, only: ledger.db.execute(
            "SELECT * FROM task WHERE state = 'ready' ORDER BY seq LIMIT ?", (n,)
        ).fetchall(),
        ["test_a_higher_priority_goes_first_and_then_the_older_task"],
    ),
}


@pytest.mark.parametrize(("fault", "test"), [(fault, test) for fault in FAULTS for test in FAULTS[fault][3]])
def test_the_contract_notices_each_fault(monkeypatch: pytest.MonkeyPatch, fault: str, test: str) -> None:
    where, name, replacement, _ = FAULTS[fault]
    monkeypatch.setattr(where, name, replacement)
    suite = MemorySuite()
    suite.queue = MemoryQueue()
    noticed = False
    try:
        getattr(suite, test)()
    except (AssertionError, pytest.fail.Exception, ClaimLost, TimeoutError, ValueError):
        noticed = True
    assert noticed


def test_one_task_alone_can_be_asked_for() -> None:
    async def main() -> None:
        queue = MemoryQueue()
        for task_id in ("one", "two", "three"):
            await queue.submit(Submission(task_id, {}))
        picky = queue.join("picky")
        picky.claim_only("two")
        assert [claim.task_id for claim in await picky.claim(5, lease=LONG, wait=0)] == ["two"]
        assert not await picky.claim(5, lease=LONG, wait=5)
        assert len(await queue.claim(5, lease=LONG, wait=0)) == 2

    clock.run(main())


def test_a_long_list_comes_in_pages() -> None:
    async def main() -> None:
        queue = MemoryQueue()
        for number in range(250):
            await queue.submit(Submission(f"task-{number}", {}))
        listed = [status.task_id async for status in queue.list(limit=230)]
        assert listed == [f"task-{number}" for number in range(249, 19, -1)]
        assert len([status async for status in queue.list(limit=1000)]) == 250
        assert [status async for status in queue.list(limit=0)] == []

    clock.run(main())


def test_a_waiting_claim_sleeps_until_a_lease_ends_and_no_longer() -> None:
    async def main() -> None:
        queue, loop = MemoryQueue("alice"), asyncio.get_running_loop()
        await queue.submit(Submission("one", {}))
        began = loop.time()
        await queue.claim(1, lease=0.75, wait=0)
        [claim] = await queue.claim(1, lease=LONG, wait=LONG)
        assert loop.time() - began == pytest.approx(0.75, abs=0.01)
        assert claim.run_id == 1

    clock.run(main())


def test_an_operation_that_fails_changes_and_publishes_nothing() -> None:
    async def main() -> None:
        queue = MemoryQueue()
        published: list[Changes] = []
        ledger = queue._shared.ledger
        ledger.publish = published.append
        with suppress(ZeroDivisionError), ledger.write(durable=True):
            ledger.db.execute("INSERT INTO meta VALUES ('a', 'b')")
            ledger.changes.work = True
            raise ZeroDivisionError
        assert ledger.db.execute("SELECT count(*) FROM meta").fetchone()[0] == 0
        assert published == []
        with pytest.raises(Bug):
            _ = ledger.changes

    clock.run(main())


def test_a_grant_is_released_although_one_of_its_tasks_was_cancelled() -> None:
    async def main() -> None:
        queue = MemoryQueue()
        for task_id in ("one", "two"):
            await queue.submit(Submission(task_id, {}))
        granted = await queue._do(lambda ledger: claims.claim(ledger, 2, claims.Holder("gone"), lease=LONG))
        await queue.cancel("one")
        await queue._do(lambda ledger: ledger_queue.release_grant(ledger, granted))
        [claim] = await queue.claim(2, lease=LONG, wait=0)
        assert claim.task_id == "two"
        assert await queue.resolve(claim, COMPLETED) == "applied"
        status = await queue.status("two")
        assert status is not None
        released = status.runs[0].resolution
        assert released is not None
        assert (str(released), released.message) == (
            "exception (claim-canceled)",
            f"released by the worker, which costs the task no retry: {ledger_queue.UNTAKEN}",
        )

    clock.run(main())


def test_notices_without_a_subscriber_are_not_kept() -> None:
    async def main() -> None:
        queue = MemoryQueue("alice")
        for _ in range(3):
            await queue.notices()
        assert not list(queue._notices._subscribers)

    clock.run(main())


def test_the_delay_of_a_retry_is_bounded() -> None:
    assert retries.retry_delay("intermittent-task", spent=10_000) == retries.MAX_DELAY


def forgetting(*, ended: Callable[[Ledger], None] = nothing) -> MemoryQueue:
    """A queue whose tasks `t0` to `t4` were cancelled just now; `ended` may change their rows."""
    queue = MemoryQueue("alice")

    async def scene() -> None:
        for n in range(5):
            await queue.submit(Submission(f"t{n}", {}))
            await queue.cancel(f"t{n}")
        await queue._do(ended)

    clock.run(scene())
    return queue


def test_a_task_that_never_ran_is_kept_from_its_end_on_and_not_from_its_submission() -> None:
    queue = forgetting(ended=lambda ledger: ledger.db.execute("UPDATE task SET submitted = 1"))

    async def scene() -> None:
        assert await queue.forget(datetime.now(UTC) - timedelta(days=1)) == 0
        assert await queue.forget(datetime.now(UTC) + timedelta(seconds=1)) == 5

    clock.run(scene())


def test_many_tasks_are_forgotten_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAGE", 2)
    queue = forgetting()
    rows: list[int] = []

    async def scene() -> None:
        assert await queue.forget(datetime.now(UTC) + timedelta(seconds=1)) == 5
        rows.append(await queue._do(lambda ledger: ledger.db.execute("SELECT count(*) FROM task").fetchone()[0]))

    clock.run(scene())
    assert rows == [0]


def test_an_unknown_task_may_be_one_of_those_that_were_forgotten() -> None:
    queue = forgetting()

    async def scene() -> None:
        with pytest.raises(UnknownTask, match=r"there is no task 't9'$"):
            await queue.status("t9")
        before = datetime(2900, 1, 1, 12, tzinfo=UTC)
        await queue.forget(before)
        await queue.forget(datetime.now(UTC))
        for task_id in ("t0", "t9"):
            with pytest.raises(UnknownTask, match="those that ended before 2900-01-01 12:00 UTC were removed"):
                await queue.status(task_id)

    clock.run(scene())
