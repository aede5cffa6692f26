import asyncio
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from taskrunner.errors import Unavailable
from taskrunner.limits import MAX_RETRIES
from taskrunner.model import COMPLETED, Claim, Submission, TaskStatus
from taskrunner.queues.sqlite import calls
from taskrunner.queues.sqlite.queue import SqliteQueue
from tests.support.queue_processes import PATIENCE, Workers, locked, soon, suspend, until

LEASE = 0.5
"""Seconds: short, because some tests wait until it ends."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


class StartWorkers(Protocol):
    def __call__(self, size: int, *, lease: float, pause: float) -> Workers: ...


@pytest.fixture
def start_workers(path: Path, tmp_path: Path) -> Iterator[StartWorkers]:
    """Starts groups of workers, whose names begin with the number of the group; ends all of them."""
    groups: list[Workers] = []

    def start(size: int, *, lease: float, pause: float) -> Workers:
        number = len(groups)
        groups.append(Workers(f"{number}-", path, tmp_path / f"events-{number}", lease=lease, pause=pause))
        for _ in range(size):
            groups[number].start()
        return groups[number]

    yield start
    for workers in groups:
        workers.end()


def submit(path: Path, count: int) -> None:
    async def main() -> None:
        queue = SqliteQueue(path, "")
        for number in range(count):
            assert await queue.submit(Submission(f"task-{number}", {"number": number}, retries=MAX_RETRIES))
        await queue.close()

    asyncio.run(main())


def statuses(path: Path) -> list[TaskStatus]:
    async def main() -> list[TaskStatus]:
        queue = SqliteQueue(path, "")
        found = [status async for status in queue.list(limit=1000)]
        await queue.close()
        return found

    return asyncio.run(main())


def completions(status: TaskStatus) -> int:
    return sum(run.resolution is not None and run.resolution.kind == "completed" for run in status.runs)


def test_killed_and_suspended_workers_lose_no_task_and_complete_none_twice(
    path: Path, start_workers: StartWorkers
) -> None:
    tasks, chance = 80, random.Random(1)  # noqa: S311  reproducible
    submit(path, tasks)
    workers = start_workers(4, lease=LEASE, pause=0.1)
    for fault in range(8):
        began = len(workers.lines("granted"))
        until(lambda: len(workers.lines("granted")) > began or len(workers.count("applied")) == tasks)  # noqa: B023
        victim = chance.choice(workers.alive())
        if fault % 2:
            victim.kill()
            victim.wait()
            workers.start()
        else:
            suspend(victim)  # perhaps in the middle of a transaction: then all others wait too
            soon(lambda: len(workers.count("lost")) + len(workers.count("applied")) == tasks, LEASE * 2)
            victim.send_signal(signal.SIGCONT)
    until(lambda: all(status.state == "resolved" for status in statuses(path)))
    found = statuses(path)
    assert len(found) == tasks
    assert [completions(status) for status in found] == [1] * tasks
    assert [str(status.resolution) for status in found] == ["completed"] * tasks
    assert max(workers.count("applied").values()) == 1


def test_the_run_of_a_worker_that_was_killed_goes_to_another(path: Path, start_workers: StartWorkers) -> None:
    submit(path, 1)
    victims = start_workers(1, lease=LEASE, pause=PATIENCE)
    until(lambda: victims.lines("granted") != [])
    victims.end()
    successors = start_workers(1, lease=PATIENCE, pause=0)
    until(lambda: successors.lines("applied") != [])
    [status] = statuses(path)
    assert [str(run.resolution) for run in status.runs] == ["exception (claim-expired)", "completed"]
    assert [run.worker_id for run in status.runs] == ["0-worker-0", "1-worker-0"]


def test_a_worker_that_was_suspended_beyond_its_lease_is_refused(path: Path, start_workers: StartWorkers) -> None:
    submit(path, 1)
    suspended = start_workers(1, lease=LEASE, pause=LEASE / 2)
    until(lambda: suspended.lines("granted") != [])
    suspend(suspended.processes[0])
    successors = start_workers(1, lease=PATIENCE, pause=0)
    until(lambda: successors.lines("applied") != [])
    suspended.processes[0].send_signal(signal.SIGCONT)
    until(lambda: suspended.lines("lost") != [])
    [status] = statuses(path)
    assert completions(status) == 1
    assert status.runs[-1].worker_id == "1-worker-0"


def test_the_recovery_of_a_dead_worker_releases_its_run_at_once(path: Path, start_workers: StartWorkers) -> None:
    submit(path, 1)
    victims = start_workers(1, lease=PATIENCE, pause=PATIENCE)
    until(lambda: victims.lines("granted") != [])
    victims.end()
    [[_, task_id, worker_id, run_id, token]] = victims.lines("granted")
    journaled = Claim(task_id, int(run_id), {"number": 0}, worker_id, token)

    async def main() -> None:
        queue = SqliteQueue(path, worker_id)
        await queue.release(journaled, delay=0, reason="worker-shutdown")
        [claim] = await queue.claim(1, lease=PATIENCE, wait=0)
        assert claim.run_id == 1
        await queue.close()

    asyncio.run(main())


def test_eight_workers_get_their_share(path: Path, start_workers: StartWorkers) -> None:
    """With SQLite's own lock, one of them waits for seconds while another takes thousands of runs."""
    tasks, wake = 400, path.with_name("queue.db.wake")
    submit(path, tasks)
    with locked(path):
        workers = start_workers(8, lease=PATIENCE, pause=0)
        until(lambda: wake.is_dir() and len(list(wake.glob("work-*"))) == 8)
    until(lambda: len(workers.count("applied")) == tasks)
    assert max(workers.count("granted").values()) == 1
    shares = Counter(line[2] for line in workers.lines("granted"))
    assert len(shares) == 8
    assert min(shares.values()) > tasks / 8 / 4


def test_a_submission_wakes_workers_of_other_processes(path: Path, start_workers: StartWorkers) -> None:
    workers = start_workers(2, lease=PATIENCE, pause=0)
    wake = path.with_name("queue.db.wake")
    until(lambda: wake.is_dir() and len(list(wake.glob("work-*"))) == 2)
    submit(path, 20)
    until(lambda: len(workers.count("applied")) == 20)
    workers.end()  # by SIGKILL: their sockets stay
    assert len(list(wake.glob("work-*"))) == 2
    asyncio.run(one_more(path))
    assert list(wake.glob("work-*")) == []


async def one_more(path: Path) -> None:
    queue = SqliteQueue(path, "")
    await queue.submit(Submission("one-more", {}))
    await queue.close()


def test_a_lock_of_another_process_is_unavailable_and_no_lost_claim(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        queue = SqliteQueue(path, "alice")
        await queue.submit(Submission("one", {}))
        [claim] = await queue.claim(1, lease=PATIENCE, wait=0)
        with locked(path), monkeypatch.context() as patched:
            patched.setattr(calls, "CALL_LIMIT", 0.3)
            with pytest.raises(Unavailable, match="locked by another process"):
                await queue.reclaim(claim, lease=PATIENCE)
            with pytest.raises(Unavailable):
                await queue.resolve(claim, COMPLETED)
        assert await queue.resolve(claim, COMPLETED) in {"applied", "already-so"}
        await queue.close()

    asyncio.run(main())


def test_a_grant_of_a_claim_over_its_limit_is_released(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        queue, other = SqliteQueue(path, "alice"), SqliteQueue(path, "bob")
        await queue.submit(Submission("one", {}, retries=0))
        with locked(path), monkeypatch.context() as patched:
            patched.setattr(calls, "CALL_LIMIT", 0.3)
            with pytest.raises(Unavailable):
                await queue.claim(1, lease=PATIENCE, wait=0)
        [claim] = await other.claim(1, lease=PATIENCE, wait=PATIENCE)
        assert await other.resolve(claim, COMPLETED) == "applied"
        await queue.close()
        await other.close()

    asyncio.run(main())
