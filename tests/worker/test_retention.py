"""A worker prunes its home beside its work, in virtual time."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from taskrunner.config.retention import Retention
from taskrunner.errors import Conflict, NotSupported, TaskFailedInternally, Unavailable
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.queue import Queue
from taskrunner.model import Claim, RunKey, TaskStatus
from taskrunner.queues.memory import MemoryQueue
from taskrunner.runs.services import Services
from taskrunner.state.journal import Journal
from taskrunner.state.leftovers import forget_leftover, note_leftover
from taskrunner.state.run_folder import RunFolder
from taskrunner.testing import MemoryStore, clock
from taskrunner.worker.retention import pruning as pruning_module
from taskrunner.worker.retention.pruning import DAY, Pruning
from taskrunner.worker.retention.schedule import INTERVAL, regular_pruning
from tests.support.forwarding_queue import ForwardingQueue
from tests.worker.conftest import World

OLD = Retention(run_days=30)


def ended(home: Path, task_id: str, *, days_ago: float = 40, run_id: int = 0) -> RunFolder:
    folder = RunFolder(home, RunKey(task_id, run_id))
    journal = Journal.create(folder, Claim(task_id, run_id, {}, "gone", "token"))
    journal.moved("resolved", "cleaned")
    journal.close()
    folder.log.write_bytes(b"x" * 1000)
    at = time.time() - days_ago * DAY
    os.utime(folder.journal, (at, at))
    return folder


def play(
    world: World,
    scene: Callable[[Services], Awaitable[None]],
    *,
    queue: Callable[[MemoryQueue], Queue] = lambda queue: queue,
    store: ArtifactStore | None = None,
    run: Callable[[Coroutine[None, None, None]], None] = clock.run,
) -> None:
    async def main() -> None:
        world.queue = MemoryQueue("submitter")
        services = world.services(queue(world.queue.join("w1")), "w1")
        await scene(attrs.evolve(services, store=store or world.store))

    run(main())


def test_a_worker_prunes_at_its_start_and_every_hour(world: World) -> None:
    async def scene(services: Services) -> None:
        first = ended(world.home, "first")
        async with regular_pruning(services, OLD):
            await asyncio.sleep(60)
            assert not first.log.exists()
            second = ended(world.home, "second")
            await asyncio.sleep(INTERVAL / 2)
            assert second.log.exists()
            await asyncio.sleep(INTERVAL / 2)
            assert not second.log.exists()
        third = ended(world.home, "third")
        await asyncio.sleep(3 * INTERVAL)
        assert third.log.exists()

    play(world, scene)
    assert world.seen.warnings == []


def test_without_rules_nothing_is_pruned(world: World) -> None:
    async def scene(services: Services) -> None:
        folder = ended(world.home, "t")
        async with regular_pruning(services, None):
            await asyncio.sleep(2 * INTERVAL)
        assert folder.log.exists()

    play(world, scene)


def test_an_error_is_a_warning_and_the_next_round_goes_on(world: World) -> None:
    async def scene(services: Services) -> None:
        folder = ended(world.home, "t")
        store.down = True
        async with regular_pruning(services, OLD):
            await asyncio.sleep(60)
            assert folder.log.exists()
            assert world.seen.warnings == ["the home could not be pruned: Unavailable: no route to host"]
            store.down = False
            await asyncio.sleep(INTERVAL)
            assert not folder.log.exists()

    class FlakyStore(MemoryStore):
        down = False

        async def delete(self, run: RunKey, names: object = None) -> None:
            if self.down:
                raise Unavailable("no route to host")
            await super().delete(run)

    store = FlakyStore()
    play(world, scene, store=store)


def test_the_problem_of_one_run_does_not_stop_the_others(world: World) -> None:
    class Picky(MemoryStore):
        async def delete(self, run: RunKey, names: object = None) -> None:
            if run.task_id == "bad":
                raise TaskFailedInternally("no permission")

    async def scene(services: Services) -> None:
        bad, good = ended(world.home, "bad", days_ago=50), ended(world.home, "good")
        outcome = await Pruning(services, OLD).run()
        assert outcome.problems == ["bad/0 stays: no permission"]
        assert (outcome.runs, bad.log.exists(), good.log.exists()) == (1, True, False)

    play(world, scene, store=Picky())


def test_a_store_that_removes_nothing_keeps_its_artifacts(world: World) -> None:
    class Keeping(MemoryStore):
        async def delete(self, run: RunKey, names: object = None) -> None:
            raise NotSupported("it has a retention of its own")

    async def scene(services: Services) -> None:
        folder = ended(world.home, "t")
        assert (await Pruning(services, OLD).run()).problems == []
        assert not folder.log.exists()

    play(world, scene, store=Keeping())


def test_an_open_task_keeps_all_its_runs(world: World) -> None:
    async def scene(services: Services) -> None:
        folder = ended(world.home, "t")
        await world.submit("t")
        rules = Retention(run_days=0, run_bytes=0, task_days=0)
        assert (await Pruning(services, rules).run()).runs == 0
        [claim] = await services.queue.claim(1, lease=600, wait=0)
        assert (await Pruning(services, rules).run()).runs == 0
        assert folder.log.exists()
        await world.queue.cancel("t")
        assert (await Pruning(services, rules).run()).runs == 1
        assert claim.task_id == "t"

    play(world, scene)


def test_a_queue_without_submissions_is_not_asked(world: World) -> None:
    async def scene(services: Services) -> None:
        ended(world.home, "t")
        outcome = await Pruning(services, Retention(task_days=30)).run()
        assert (outcome.runs, outcome.tasks, outcome.journals) == (1, 0, 1)
        assert not (world.home / "runs/t").exists()

    play(world, scene, queue=ForwardingQueue)


def test_a_queue_that_does_not_answer_keeps_everything(world: World) -> None:
    class Down(MemoryQueue):
        async def status(self, task_id: str) -> TaskStatus:
            raise Unavailable("no route to host")

    async def scene(services: Services) -> None:
        folder = ended(world.home, "t")
        with pytest.raises(Unavailable):
            await Pruning(services, Retention(run_days=0, run_bytes=0, task_days=0)).run()
        assert folder.log.exists()

    play(world, scene, queue=lambda queue: Down("w1", same_as=queue))


def test_a_run_set_aside_does_not_take_the_artifacts_of_its_successor(world: World) -> None:
    async def scene(services: Services) -> None:
        ended(world.home, "t")
        ended(world.home, "t", days_ago=1)
        await services.store.put(RunKey("t", 0), "a", one_piece())
        outcome = await Pruning(services, Retention(task_days=30)).run()
        assert (outcome.runs, outcome.journals) == (1, 1)
        assert [path.name for path in (world.home / "runs/t").iterdir()] == ["0"]
        assert world.store.bodies

    play(world, scene)


def test_the_size_counts_artifacts_and_removes_the_oldest_first(world: World) -> None:
    async def scene(services: Services) -> None:
        folders = [ended(world.home, f"t{n}", days_ago=n) for n in (3, 2, 1)]
        await services.store.put(RunKey("t2", 0), "a", one_piece(5000))
        pruning = Pruning(services, Retention(run_bytes=8000))
        assert (await pruning.run()).runs == 0
        pruning.rules = Retention(run_bytes=7999)
        assert (await pruning.run()).runs == 1
        pruning.rules = Retention(run_bytes=6999)
        outcome = await pruning.run()
        assert (outcome.runs, outcome.size) == (1, 6000)
        assert [folder.log.exists() for folder in folders] == [False, False, True]

    play(world, scene)


def test_one_pruning_at_a_time(world: World) -> None:
    async def scene(services: Services) -> None:
        with (world.home / "prune.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with pytest.raises(Conflict, match="is being pruned already"):
                await Pruning(services, OLD).run()
            async with regular_pruning(services, OLD):
                await asyncio.sleep(1)
        assert (await Pruning(services, OLD).run()).problems == []

    play(world, scene)
    assert world.seen.warnings == []


def test_a_pruning_has_a_limit_of_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(services: Services) -> None:
        folders = [ended(world.home, f"t{n}") for n in range(5)]
        monkeypatch.setattr(pruning_module, "LONGEST", -1.0)
        assert (await Pruning(services, Retention(run_days=30, task_days=30)).run()).runs == 0
        assert all(folder.log.exists() for folder in folders)

    play(world, scene)


def test_a_dry_run_removes_nothing(world: World) -> None:
    lines: list[str] = []

    async def scene(services: Services) -> None:
        folder = ended(world.home, "t")
        rules = Retention(run_days=30, run_bytes=0, task_days=30, cache_days=0)
        outcome = await Pruning(services, rules, lines.append, dry_run=True).run()
        assert (outcome.runs, outcome.size, outcome.journals) == (1, 1000, 1)
        assert sorted(path.name for path in folder.path.iterdir()) == ["journal.jsonl", "log"]

    play(world, scene)
    [line] = lines
    assert line.startswith("log and artifacts of t/0, which ended 20")


def test_a_claim_is_not_delayed(world: World) -> None:
    """The worker's coroutines run between the pages of a pruning."""

    async def scene(services: Services) -> None:
        for n in range(120):
            ended(world.home, f"t{n}")
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        assert (await Pruning(services, OLD).run()).runs == 120
        counting.cancel()
        assert turns > 120

    play(world, scene, run=asyncio.run)


def test_a_run_whose_leftovers_wait_to_be_removed_stays(world: World) -> None:
    async def scene(services: Services) -> None:
        folder = ended(world.home, "t")
        note_leftover(world.home, "gone", RunKey("t", 0), "fake", ["a container"])
        rules = Retention(run_days=30, run_bytes=0, task_days=30)
        assert (await Pruning(services, rules).run()).runs == 0
        assert folder.log.exists()
        forget_leftover(world.home, "gone", RunKey("t", 0))
        assert (await Pruning(services, rules).run()).journals == 1

    play(world, scene)


def test_an_artifact_goes_when_it_expires_and_a_run_stays_until_its_last_one_has(world: World) -> None:
    async def scene(services: Services) -> None:
        folder = ended(world.home, "t")
        now, run = datetime.now(UTC), RunKey("t", 0)
        for name, days in (("early", -1), ("late", 10)):
            await services.store.put(run, name, one_piece(), expires=now + timedelta(days=days))
        await services.store.put(run, "other", one_piece())
        outcome = await Pruning(services, OLD, dry_run=True).run()
        assert (outcome.expired, outcome.runs) == (1, 0)
        pruning = Pruning(services, OLD)
        assert ((await pruning.run()).expired, (await pruning.run()).expired) == (1, 0)
        assert [artifact.name for artifact in await services.store.list(run)] == ["late", "other"]
        assert folder.log.exists()
        await services.store.put(run, "late", one_piece(), expires=now - timedelta(days=1))
        outcome = await Pruning(services, OLD).run()
        assert (outcome.expired, outcome.runs) == (1, 1)
        assert await services.store.list(run) == []

    play(world, scene)


@pytest.mark.parametrize("rules", [Retention(run_bytes=0), Retention(task_days=30)])
def test_a_size_and_a_forgotten_task_do_not_ask_for_the_expiry(world: World, rules: Retention) -> None:
    async def scene(services: Services) -> None:
        ended(world.home, "t")
        await services.store.put(RunKey("t", 0), "a", one_piece(), expires=datetime.now(UTC) + timedelta(days=10))
        assert (await Pruning(services, rules).run()).runs == 1
        assert await services.store.list(RunKey("t", 0)) == []

    play(world, scene)


async def one_piece(size: int = 1) -> AsyncIterator[bytes]:
    yield bytes(size)
