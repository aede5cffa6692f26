"""The door of a worker, with the test in place of the worker and of its clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from taskrunner.errors import TaskFailed
from taskrunner.interfaces.execution import Input
from taskrunner.worker.door.frames import FrameKind, Link
from taskrunner.worker.door.report import RunReport, WorkerReport
from taskrunner.worker.door.server import Door

ID = "ci-7-3f"


class RecordingWorker:
    """The operator's side of a worker, which records what it is asked."""

    def __init__(self, runs: int = 0) -> None:
        self.orders: list[str] = []
        self.broken = False
        self._runs = tuple(RunReport(f"t{n}", 0, n, "x" * 100, "fake", "running", 1.0, None) for n in range(runs))

    def status(self) -> WorkerReport:
        if self.broken:
            raise ZeroDivisionError("no identity")
        now = datetime(2026, 1, 1, tzinfo=UTC)
        return WorkerReport(
            ID, 1, {"host": "h"}, "memory", now, 1.0, "claiming", 1.0, "", False, None, 1, 0, self._runs
        )  # fmt: skip

    def pause(self, seconds: float | None = None) -> None:
        self.orders.append(f"pause {seconds}")

    def resume(self) -> None:
        self.orders.append("resume")

    def drain(self, *, now: bool = False) -> None:
        self.orders.append(f"drain {now}")

    def operated_run(self, task_id: str, run_id: int | None = None) -> Any:
        raise TaskFailed("not-running", f"{task_id}/{run_id} does not run here")


class WorkerOfOneRun(RecordingWorker):
    """A worker with the run t/0."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []
        self.run: Any

    def operated_run(self, task_id: str, run_id: int | None = None) -> Any:
        if task_id != "t" or run_id not in {None, 0}:
            raise TaskFailed("not-running", f"{task_id} does not run on this worker")
        return self.run


WorkerT = TypeVar("WorkerT", bound=WorkerOfOneRun)


class DoorPlace:
    """A home, whose worker has an open door during a scene."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "workers" / f"{ID}.sock"
        self.path.parent.mkdir(parents=True)

    async def perform(self, worker: WorkerT, scene: Callable[[WorkerT], Awaitable[None]]) -> None:
        """Opens the door, performs the scene, and closes the door again. Nothing of it is left."""
        self.door = Door(worker, worker.warnings.append, last_frames=0.1)
        async with asyncio.timeout(60):
            async with self.door.open(self.path):
                await scene(worker)
            assert asyncio.all_tasks() == {asyncio.current_task()}


class Channel(Input):
    """A standard input; while `takes` is not set, nothing is taken of it."""

    def __init__(self) -> None:
        self.taken, self.takes, self.closed = b"", asyncio.Event(), asyncio.Event()
        self.broken = False

    async def write(self, data: bytes) -> None:
        await self.takes.wait()
        if self.broken:
            raise BrokenPipeError
        self.taken += data

    async def close(self) -> None:
        self.closed.set()


async def until(link: Link, kind: FrameKind) -> bytes:
    """The data of the next frame of this kind."""
    while frame := await link.receive():
        if frame[0] is kind:
            return frame[1]
    raise AssertionError(f"the connection has ended, and no frame of {kind} came")
