"""A whole worker under test: a queue in memory, a scripted platform, and a host and a clock that the test controls."""
# ruff: noqa: S101, PLR2004

import asyncio
from pathlib import Path
from typing import Any

from taskrunner import Config, Health, MemoryQueue, StopCondition, Submission, run_worker
from taskrunner.testing import FakeHost, FakePlatform, clock


class Setup:
    """One worker, with its host, its platform and its queue."""

    def __init__(self, home: Path) -> None:
        self.home, self.host, self.platform, self.queue = home, FakeHost(), FakePlatform(), MemoryQueue("me")

    async def submit(self, task_id: str, **script: Any) -> None:
        await self.queue.submit(Submission(task_id, {"platform": "fake", **script}))

    async def work(self, stop_when: StopCondition, **config: Any) -> None:
        plugins = {"fake": self.platform.plugin()}
        await run_worker(
            Config(min_free_disk=0, **config),
            self.host, self.home, stop_when=stop_when, queue=self.queue.join, plugins=plugins,
        )  # fmt: skip

    async def ending(self, task_id: str) -> str:
        return str((await self.queue.status(task_id)).resolution)


def test_nine_hours(tmp_path: Path) -> None:
    async def main() -> None:
        setup = Setup(tmp_path)
        await setup.submit("build", run_for=9 * 3600, max_run_time=10 * 3600, exit_code=1)
        await setup.work(StopCondition(tasks=1))
        assert await setup.ending("build") == "failed (exit-code)"
        assert setup.platform.alive == [], "nothing is left behind"

    clock.run(main())


def test_a_run_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    async def main() -> None:
        setup = Setup(tmp_path)
        await setup.submit("endless", run_for=9 * 3600, max_run_time=60)
        began = asyncio.get_running_loop().time()
        await setup.work(StopCondition(tasks=1))
        assert await setup.ending("endless") == "failed (max-run-time)"
        assert asyncio.get_running_loop().time() - began < 70, "seconds, of the virtual clock"

    clock.run(main())


def test_a_machine_that_must_go_hands_back_its_run(tmp_path: Path) -> None:
    async def main() -> None:
        setup = Setup(tmp_path)
        await setup.submit("long", run_for=3600)
        asyncio.get_running_loop().call_later(
            600, lambda: setup.host.leave(immediate=True, why="spot interruption at 12:03")
        )
        await setup.work(StopCondition())
        status = await setup.queue.status("long")
        assert status.state == "pending", "another worker may have it"
        assert str(status.runs[0].resolution) == "exception (worker-shutdown)"

    clock.run(main())


def test_a_sick_machine_takes_nothing_until_it_is_well(tmp_path: Path) -> None:
    async def main() -> None:
        setup, loop = Setup(tmp_path), asyncio.get_running_loop()
        setup.platform.current_health = Health(fit=False, why="the engine restarts")
        loop.call_later(3600, lambda: setattr(setup.platform, "current_health", Health(fit=True)))
        await setup.submit("one", run_for=1)  # this run opens the platform, whose health is asked for from then on
        await setup.submit("two", run_for=1)
        began = loop.time()
        await setup.work(StopCondition(tasks=2))
        assert await setup.ending("two") == "completed"
        assert loop.time() - began > 3600

    clock.run(main())
