"""A whole worker: the lock that is left after its end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from taskrunner import Config, MemoryQueue, Submission, WorkerBroken, run_worker
from taskrunner.machines.worker import Load
from taskrunner.state.worker_lock import dead_workers
from taskrunner.testing import FakeHost, FakePlatform
from taskrunner.worker.start import services
from taskrunner.worker.stop_condition import StopCondition


def run(home: Path, queue: MemoryQueue, platform: FakePlatform, task_id: str) -> Load:
    async def main() -> Load:
        await queue.submit(Submission(task_id, {"id": task_id, "platform": "fake"}))
        return await run_worker(
            Config(min_free_disk=0),
            FakeHost(),
            home,
            stop_when=StopCondition(tasks=1),
            queue=queue.join,
            plugins={"fake": platform.plugin()},
        )

    return asyncio.run(main())


def test_a_worker_that_ends_in_order_leaves_nothing_to_recover(tmp_path: Path) -> None:
    assert not run(tmp_path, MemoryQueue("submitter"), FakePlatform(), "t").broken
    assert dead_workers(tmp_path) == []


def test_the_next_worker_recovers_from_a_broken_one(tmp_path: Path) -> None:
    broken = FakePlatform()
    broken.engine_error = WorkerBroken("the machine is on fire")
    assert run(tmp_path, MemoryQueue("submitter"), broken, "t1").broken
    assert len(dead_workers(tmp_path)) == 1
    assert not run(tmp_path, MemoryQueue("submitter"), FakePlatform(), "t2").broken
    assert dead_workers(tmp_path) == []


def test_a_cache_of_an_engine_has_no_name_that_a_task_can_use(tmp_path: Path) -> None:
    """A task that names a mirror's folder, as a cache, gets an empty one."""
    seen: list[list[Path]] = []

    platform = FakePlatform()

    async def main() -> None:
        async with services(Config(), tmp_path, queue=MemoryQueue, plugins={"fake": platform.plugin()}) as shared:
            mirror = await shared.engine_caches.exclusive("git-mirror")
            (mirror.folder.path / "pack").write_text("private")
            await mirror.commit()
            await shared.platforms.get("fake")
            tasks = await shared.caches("fake").exclusive("git-mirror")
            seen.append(list(tasks.folder.path.iterdir()))
            await tasks.commit()
            again = await shared.engine_caches.exclusive("git-mirror")
            seen.append([path.relative_to(again.folder.path) for path in again.folder.path.iterdir()])
            await again.commit()

    asyncio.run(main())
    assert seen == [[], [Path("pack")]]
