"""A worker with a queue in memory, a platform that follows a script, and a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from taskrunner.bounded import BoundedCalls
from taskrunner.caches.folder_caches import FolderCaches
from taskrunner.files.plain_folder import PlainFolder
from taskrunner.interfaces.platform import PlatformContext
from taskrunner.interfaces.queue import Queue
from taskrunner.machines.chart import Move
from taskrunner.model import Resolution, Secret, Submission, TaskStatus
from taskrunner.queues.memory import MemoryQueue
from taskrunner.runs.observer import Observer, RunView
from taskrunner.runs.platforms import Platforms
from taskrunner.runs.run import TaskRun
from taskrunner.runs.services import Services
from taskrunner.state.journal_reader import read_journal, state_visits
from taskrunner.testing import FakeHost, FakePlatform, MemoryStore, clock
from taskrunner.worker.stop_condition import StopCondition
from taskrunner.worker.worker import Worker


class RecordingObserver(Observer):
    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.moves: list[str] = []
        self.worker: list[str] = []
        self.endings: dict[str, Resolution] = {}

    def worker_moved(self, move: Move, why: str) -> None:
        if move.moved:
            self.worker.append(move.target)

    def moved(self, run: RunView, move: Move) -> None:
        self.moves.append(f"{run.claim.run} {move.event}")

    def ended(self, run: RunView, resolution: Resolution) -> None:
        self.endings[str(run.claim.run)] = resolution

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@attrs.define
class World:
    home: Path
    platform: FakePlatform = attrs.field(factory=FakePlatform)
    host: FakeHost = attrs.field(factory=FakeHost)
    store: MemoryStore = attrs.field(factory=MemoryStore)
    seen: RecordingObserver = attrs.field(factory=RecordingObserver)
    min_free_disk: int = 0
    lease: float = 60.0
    stop_timeout: float | None = None
    promised: frozenset[str] = frozenset()
    run_class: type[TaskRun] = TaskRun
    listeners: list[object] = attrs.field(factory=list)
    queue: MemoryQueue = attrs.field(init=False)
    """The queue as its submitter uses it."""
    worker: Worker = attrs.field(init=False)

    def run(
        self,
        *scenes: Callable[[], Awaitable[None]],
        capacity: int = 1,
        stop_when: StopCondition | None = None,
        wrap: Callable[[Queue], Queue] = lambda queue: queue,
    ) -> World:
        """Runs a worker and the scenes until all have ended, in virtual time. `wrap` changes the worker's queue."""

        async def main() -> None:
            self.queue = MemoryQueue("submitter")
            services = self.services(wrap(self.queue.join("w1")), "w1")
            stopping = stop_when or StopCondition()
            self.worker = Worker(
                services, self.host, capacity, stopping, self.min_free_disk, self.run_class, self.stop_timeout
            )
            self.worker.machine.add_listener(*self.listeners)
            async with asyncio.TaskGroup() as group:
                for scene in scenes:
                    group.create_task(scene())
                await self.worker.run()

        clock.run(main())
        return self

    def outcome(self, wrap: Callable[[Queue], Queue] = lambda queue: queue, **document: Any) -> str:
        """How a task with this document ends, and why."""
        found: list[str] = []

        async def scene() -> None:
            await self.submit(**document)
            resolution = (await self.ended()).resolution
            assert resolution
            found.append(f"{resolution}: {resolution.message}")

        self.run(scene, wrap=wrap)
        return found[0]

    def services(self, queue: Queue, worker_id: str) -> Services:
        context = PlatformContext(worker_id=worker_id, home=self.home, reveal=reveal)
        plugins = {"fake": self.platform.plugin()}
        platforms = Platforms(plugins, context, promised=self.promised, calls=BoundedCalls(self.seen.warn))
        return Services(
            worker_id=worker_id,
            home=self.home,
            queue=queue,
            store=self.store,
            platforms=platforms,
            caches=lambda name: FolderCaches(self.home / "caches" / name, platforms.open_ones[name].new_cache_folder),
            engine_caches=FolderCaches(self.home / "engine-caches", PlainFolder),
            reveal=reveal,
            observer=self.seen,
            lease=self.lease,
        )

    async def submit(self, task_id: str = "t", **document: Any) -> None:
        settings = {key: document.pop(key) for key in ("retries", "not_before") if key in document}
        await self.queue.submit(Submission(task_id, {"id": task_id, "platform": "fake", **document}, **settings))

    async def ended(self, task_id: str = "t") -> TaskStatus:
        """Waits for the end of a task, then shuts down the worker."""
        async for status in self.queue.watch(task_id):
            if status.state == "resolved":
                self.host.leave(why="the scene is over")
                return status
        raise AssertionError("watching ended before the task did")

    def log(self, task_id: str = "t", run_id: int = 0) -> str:
        return (self.home / "runs" / task_id / str(run_id) / "log").read_text()

    def visits(self, task_id: str = "t", run_id: int = 0) -> list[tuple[str, str]]:
        visits = state_visits(read_journal(self.home / "runs" / task_id / str(run_id) / "journal.jsonl"))
        return [(visit.state, visit.event) for visit in visits]

    def is_clean(self) -> bool:
        return not self.platform.alive and not list(self.home.glob("runs/*/*/work"))


def reveal(secret: Secret) -> str:
    return secret.literal or f"value of {secret.name}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
