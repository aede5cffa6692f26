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
from taskrunner.queues.sqlite.queue import SqliteQueue
from tests.support.queue_processes import PATIENCE, Workers, locked, soon, stop, until

LEASE = 0.5
"""Seconds: short, since the tests wait for some to end."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


class Crew(Protocol):
    def __call__(self, size: int, *, lease: float, pause: float) -> Workers: ...


@pytest.fixture
def crew(path: Path, tmp_path: Path) -> Iterator[Crew]:
    """Starts workers, in crews that are told apart by a number before their names; ends them all."""
    crews: list[Workers] = []

    def start(size: int, *, lease: float, pause: float) -> Workers:
        number = len(crews)
        crews.append(Workers(f"{number}-", path, tmp_path / f"diary-{number}", lease=lease, pause=pause))
        for _ in range(size):
            crews[number].start()
        return crews[number]

    yield start
    for workers in crews:
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


def test_workers_that_are_killed_and_stopped_lose_nothing_and_complete_nothing_twice(path: Path, crew: Crew) -> None:
    tasks, chance = 80, random.Random(1)  # noqa: S311  the same trouble every time
    submit(path, tasks)
    workers = crew(4, lease=LEASE, pause=0.1)
    for trouble in range(8):
        began = len(workers.lines("granted"))
        until(lambda: len(workers.lines("granted")) > began or len(workers.count("applied")) == tasks)  # noqa: B023
        victim = chance.choice(workers.alive())
        if trouble % 2:
            victim.kill()
            victim.wait()
            workers.start()
        else:
            stop(victim)  # perhaps in the middle of a transaction: then all others wait with it
            soon(lambda: len(workers.count("lost")) + len(workers.count("applied")) == tasks, LEASE * 2)
            victim.send_signal(signal.SIGCONT)
    until(lambda: all(status.state == "resolved" for status in statuses(path)))
    found = statuses(path)
    assert len(found) == tasks
    assert [completions(status) for status in found] == [1] * tasks
    assert [str(status.resolution) for status in found] == ["completed"] * tasks
    assert max(workers.count("applied").values()) == 1


def test_the_run_of_a_worker_that_was_killed_goes_to_another(path: Path, crew: Crew) -> None:
    submit(path, 1)
    victims = crew(1, lease=LEASE, pause=PATIENCE)
    until(lambda: victims.lines("granted") != [])
    victims.end()
    heirs = crew(1, lease=PATIENCE, pause=0)
    until(lambda: heirs.lines("applied") != [])
    [status] = statuses(path)
    assert [str(run.resolution) for run in status.runs] == ["exception (claim-expired)", "completed"]
    assert [run.worker_id for run in status.runs] == ["0-worker-0", "1-worker-0"]


def test_a_worker_that_stood_still_beyond_its_lease_is_refused(path: Path, crew: Crew) -> None:
    submit(path, 1)
    sleepers = crew(1, lease=LEASE, pause=LEASE / 2)
    until(lambda: sleepers.lines("granted") != [])
    stop(sleepers.processes[0])
    heirs = crew(1, lease=PATIENCE, pause=0)
    until(lambda: heirs.lines("applied") != [])
    sleepers.processes[0].send_signal(signal.SIGCONT)
    until(lambda: sleepers.lines("lost") != [])
    [status] = statuses(path)
    assert completions(status) == 1
    assert status.runs[-1].worker_id == "1-worker-0"


def test_who_sweeps_up_after_a_dead_worker_gives_its_run_back_at_once(path: Path, crew: Crew) -> None:
    submit(path, 1)
    victims = crew(1, lease=PATIENCE, pause=PATIENCE)
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


def test_eight_workers_get_their_share(path: Path, crew: Crew) -> None:
    """SQLite's own waiting for its lock lets one of them wait for seconds while another takes thousands."""
    tasks, wake = 400, path.with_name("queue.db.wake")
    submit(path, tasks)
    with locked(path):
        workers = crew(8, lease=PATIENCE, pause=0)
        until(lambda: wake.is_dir() and len(list(wake.glob("work-*"))) == 8)
    until(lambda: len(workers.count("applied")) == tasks)
    assert max(workers.count("granted").values()) == 1
    shares = Counter(line[2] for line in workers.lines("granted"))
    assert len(shares) == 8
    assert min(shares.values()) > tasks / 8 / 4


def test_submitters_of_many_processes_wake_one_who_waits(path: Path, crew: Crew) -> None:
    workers = crew(2, lease=PATIENCE, pause=0)
    wake = path.with_name("queue.db.wake")
    until(lambda: wake.is_dir() and len(list(wake.glob("work-*"))) == 2)
    submit(path, 20)
    until(lambda: len(workers.count("applied")) == 20)
    workers.end()  # by kill -9: their sockets stay
    assert len(list(wake.glob("work-*"))) == 2
    asyncio.run(one_more(path))
    assert list(wake.glob("work-*")) == []


async def one_more(path: Path) -> None:
    queue = SqliteQueue(path, "")
    await queue.submit(Submission("one-more", {}))
    await queue.close()


def test_a_lock_that_somebody_else_holds_is_unavailable_and_no_lost_claim(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskrunner.queues.sqlite.queue.CALL_LIMIT", 0.3)

    async def main() -> None:
        queue = SqliteQueue(path, "alice")
        await queue.submit(Submission("one", {}))
        [claim] = await queue.claim(1, lease=PATIENCE, wait=0)
        with locked(path):
            with pytest.raises(Unavailable, match="locked by another process"):
                await queue.reclaim(claim, lease=PATIENCE)
            with pytest.raises(Unavailable):
                await queue.resolve(claim, COMPLETED)
        assert await queue.resolve(claim, COMPLETED) in {"applied", "already-so"}
        await queue.close()

    asyncio.run(main())


def test_a_claim_that_ran_into_its_limit_is_given_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskrunner.queues.sqlite.queue.CALL_LIMIT", 0.3)

    async def main() -> None:
        queue, other = SqliteQueue(path, "alice"), SqliteQueue(path, "bob")
        await queue.submit(Submission("one", {}, retries=0))
        with locked(path), pytest.raises(Unavailable):
            await queue.claim(1, lease=PATIENCE, wait=0)
        [claim] = await other.claim(1, lease=PATIENCE, wait=PATIENCE)
        assert await other.resolve(claim, COMPLETED) == "applied"
        await queue.close()
        await other.close()

    asyncio.run(main())
