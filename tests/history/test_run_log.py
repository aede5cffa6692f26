"""The log of a run whose queue carries it, and of one that is in the store alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from taskrunner.history.run_log import RunLog
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.model import COMPLETED, RunKey, Submission
from taskrunner.queues.memory import MemoryQueue
from taskrunner.testing import MemoryStore

RUN = RunKey("t", 0)


class StreamingQueue(MemoryQueue):
    """Carries logs: `first` is there, and `second` comes to those who follow."""

    async def watch_log(
        self, task_id: str, run_id: int, offset: int = 0, *, follow: bool = True
    ) -> AsyncIterator[bytes]:
        yield b"first\n"[offset:]
        if follow:
            yield f"second of {task_id}/{run_id}\n".encode()


@attrs.define
class Reader:
    queue: MemoryQueue
    store: MemoryStore = attrs.field(factory=MemoryStore)
    opened: list[Path] = attrs.field(factory=list)

    @asynccontextmanager
    async def open_store(self, home: Path) -> AsyncIterator[ArtifactStore]:
        self.opened.append(home)
        yield self.store

    async def log(self) -> RunLog:
        """Of a run that has been resolved."""
        await self.queue.submit(Submission("t", {}))
        [claim] = await self.queue.claim(1, lease=60, wait=0)
        await self.queue.resolve(claim, COMPLETED)
        return RunLog(self.queue, self.open_store, await self.queue.status("t"), RUN)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TASKRUNNER_HOME", str(tmp_path))
    return tmp_path


def read(reader: Reader, offset: int = 0, *, live: bool) -> tuple[bytes, bytes]:
    """The log and its index."""

    async def main() -> tuple[bytes, bytes]:
        log = await reader.log()
        pieces = [piece async for piece in log.pieces(offset, live=live)]
        return b"".join(pieces), b"".join([piece async for piece in log.index(0)])

    return asyncio.run(main())


def test_a_queue_that_carries_logs_is_asked_for_them() -> None:
    reader = Reader(StreamingQueue("w"))
    assert read(reader, live=True) == (b"first\nsecond of t/0\n", b"")
    assert read(Reader(StreamingQueue("w")), 3, live=False) == (b"st\n", b"")
    assert reader.opened == [], "the store is not needed"


@pytest.mark.parametrize("live", [True, False])
def test_a_log_that_only_the_store_has_comes_with_its_index(home: Path, live: bool) -> None:
    reader = Reader(MemoryQueue("w"))
    reader.store.bodies = {(RUN, "log"): b"stored\n", (RUN, "log.index"): b"index"}
    assert read(reader, 2, live=live) == (b"ored\n", b"index")
    assert set(reader.opened) == {home}


@pytest.mark.parametrize("live", [True, False])
def test_a_run_without_any_log_is_empty(live: bool) -> None:
    assert read(Reader(MemoryQueue("w")), live=live) == (b"", b"")
