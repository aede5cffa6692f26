"""The harness of the tests of push sources: a whole worker with a fake platform, behind the queue of the source."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import attrs
import pytest

from taskrunner import limits
from taskrunner.config.config import Config
from taskrunner.interfaces.queue import Queue
from taskrunner.model import Move, Resolution, RunKey
from taskrunner.runs.observer import Observer, RunView
from taskrunner.state.journal_reader import read_journal
from taskrunner.state.run_folder import RunFolder
from taskrunner.testing.conformance.kit import ConformanceKit
from taskrunner.testing.conformance.push_source.client import PeerStory, PushClient
from taskrunner.testing.fakes.artifacts import MemoryStore
from taskrunner.testing.fakes.host import FakeHost
from taskrunner.testing.fakes.platform import FakePlatform
from taskrunner.worker.start import services
from taskrunner.worker.worker import Worker

K = TypeVar("K", bound="PushSourceKit")

Carried = Literal["refusals", "states", "progress", "log", "artifacts", "cancel", "resume"]
"""What a protocol may carry. `refusals`: why a run is not taken. `resume`: a client takes over the run of another
one."""

EVERYTHING: frozenset[Carried] = frozenset({"refusals", "states", "progress", "log", "artifacts", "cancel", "resume"})

LINE = "a line of a log that is long\n"
PAGE = 1 << 16
"""Bytes of log that a run writes at a time: a task must fit into a document."""

LOOK_AGAIN = 0.01
"""Seconds between two looks at what a worker does."""


class PushSourceKit(ConformanceKit, ABC):
    """What the author of a push source defines. Each test has a worker of its own, and an empty home."""

    limit: ClassVar[float] = 60.0

    carries: ClassVar[frozenset[Carried]] = EVERYTHING
    """What the protocol of this source carries; tests of the rest are left out."""

    patience: ClassVar[float] = 1.0
    """Seconds that stand for `limits.PEER_PATIENCE` in the tests."""

    long_log: ClassVar[int] = 8 << 20
    """Bytes of a log that do not fit into the buffers between the source and a client that does not read."""

    @abstractmethod
    def queue(self, worker_id: str, home: Path) -> Queue:
        """Opens the queue of the source for a worker: `PushQueue(MySource(...), worker_id, home)`."""

    @abstractmethod
    async def connect(self) -> PushClient:
        """Connects a client to the source of the queue that was opened last. Raises OSError while it does not
        listen."""

    # ---- for the tests ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def working(self, home: Path, *, capacity: int = 1) -> AsyncIterator[WorkerScene]:
        """A worker whose source listens. Afterwards it is stopped, and must have released everything."""
        platform, seen, store = FakePlatform(), SeenEvents(), MemoryStore()
        opened = services(
            Config(min_free_disk=0),
            home,
            observer=seen,
            queue=lambda worker_id: self.queue(worker_id, home),
            store=store,
            plugins={"fake": platform.plugin()},
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "PEER_PATIENCE", self.patience)
            async with opened as shared:
                worker = Worker(shared, FakeHost(), capacity)
                scene = WorkerScene(self, home, worker, platform, store, seen)
                working = asyncio.create_task(worker.run())
                try:
                    yield scene
                finally:
                    worker.shutdown(immediate=True, why="the test is over")
                    for client in scene.clients:
                        await client.disconnect()
                    await working
        assert platform.alive == []


@attrs.define(eq=False)
class SeenEvents(Observer):
    """What the worker has done."""

    moves: list[tuple[RunKey, Move]] = attrs.field(factory=list)
    endings: dict[RunKey, Resolution] = attrs.field(factory=dict)
    warnings: list[str] = attrs.field(factory=list)

    def moved(self, run: RunView, move: Move) -> None:
        self.moves.append((run.claim.run, move))

    def ended(self, run: RunView, resolution: Resolution) -> None:
        self.endings[run.claim.run] = resolution

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@attrs.define(eq=False)
class WorkerScene:
    """One test: the worker, and the clients of its source."""

    kit: PushSourceKit
    home: Path
    worker: Worker
    platform: FakePlatform
    store: MemoryStore
    seen: SeenEvents
    clients: list[PushClient] = attrs.field(factory=list)

    async def client(self) -> PushClient:
        """A client that is connected. Waits until the source listens."""
        while True:
            try:
                client = await self.kit.connect()
            except OSError:
                await asyncio.sleep(LOOK_AGAIN)
            else:
                self.clients.append(client)
                return client

    async def dispatch(self, task_id: str = "one", **script: Any) -> PushClient:
        """A client that has dispatched a task with this script: fields of a FakePayload, and of a task."""
        client = await self.client()
        await client.dispatch(task_id, {"platform": "fake", **script})
        return client

    async def dispatch_long_log(self) -> PushClient:
        """A client whose run writes `PushSourceKit.long_log` bytes, and ends."""
        page = LINE * (PAGE // len(LINE))
        pages = self.kit.long_log // len(page)
        return await self.dispatch(log=page, log_every=0.002, run_for=0.002 * pages)

    async def story(self, task_id: str = "one", **script: Any) -> PeerStory:
        """The whole dialogue about a run."""
        return await PeerStory().listen(await self.dispatch(task_id, **script))

    async def until(self, met: Callable[[], object]) -> None:
        """Waits until a condition is met."""
        while not met():  # noqa: ASYNC110  the worker has no event for everything that a test looks at
            await asyncio.sleep(LOOK_AGAIN)

    async def until_state(self, state: str) -> RunKey:
        """Waits until a run has reached a state. Returns the run."""
        await self.until(lambda: any(move.target == state for _, move in self.seen.moves))
        return next(run for run, move in self.seen.moves if move.target == state)

    async def until_over(self) -> RunKey:
        """Waits until a run is over. Returns it."""
        await self.until(lambda: self.seen.endings)
        return next(iter(self.seen.endings))

    def events(self, run: RunKey) -> list[str]:
        return [str(move.event) for each, move in self.seen.moves if each == run]

    def spool(self, run: RunKey) -> bytes:
        """The log of a run, as the worker has kept it."""
        return RunFolder(self.home, run).log.read_bytes()

    def notes(self, run: RunKey) -> str:
        """The notes in the journal of a run."""
        records = read_journal(RunFolder(self.home, run).journal)
        return "\n".join(str(record.data["text"]) for record in records if record.kind == "note")


def push_scenario(
    *needs: Carried, capacity: int = 1
) -> Callable[[Callable[[K, WorkerScene], Coroutine[Any, Any, None]]], Callable[[K, Path], None]]:
    """Makes a test for pytest of a coroutine function, which gets a worker. `needs` is what the protocol must carry."""

    def decorate(test: Callable[[K, WorkerScene], Coroutine[Any, Any, None]]) -> Callable[[K, Path], None]:
        async def main(kit: K, home: Path) -> None:
            async with kit.working(home, capacity=capacity) as scene:
                await test(kit, scene)

        def run(self: K, tmp_path: Path) -> None:
            if self.carries.issuperset(needs):
                self.bounded(main(self, tmp_path))

        run.__name__, run.__qualname__, run.__doc__ = test.__name__, test.__qualname__, test.__doc__
        return run

    return decorate


__all__ = ["EVERYTHING", "LINE", "Carried", "PushSourceKit", "WorkerScene", "push_scenario"]
