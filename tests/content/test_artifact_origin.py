"""Artifacts of other tasks as content."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from taskrunner.errors import NotSupported, TaskFailed, TaskFailedInternally, Unavailable
from taskrunner.interfaces.queue import Queue
from taskrunner.model import COMPLETED, Artifact, Resolution, RunKey, Submission, TaskStatus, failed
from taskrunner.queues.memory import MemoryQueue
from taskrunner.testing import MemoryStore
from tests.content.conftest import Runs, body
from tests.support.archives import COMPRESS, entry, tar

DATA = b"built\n" * 1000


async def submitted(runs: Runs, *endings: Resolution) -> MemoryQueue:
    """A task `build` whose runs have ended so."""
    runs.queue = queue = MemoryQueue("w1")
    await queue.submit(Submission("build", {"id": "build"}))
    for number, ending in enumerate(endings):
        if number:
            await queue.retry("build")
        (claim,) = await queue.claim(1, lease=60, wait=0)
        await queue.resolve(claim, ending)
    return queue


def after(runs: Runs, prepare: Callable[[], Awaitable[object]], **mount: object) -> bytes:
    async def main() -> bytes:
        await prepare()
        content = await runs.provide(**{"task": "build", "artifact": "out", **mount})
        try:
            return content.path.read_bytes() if content.path.is_file() else (content.path / "x").read_bytes()
        finally:
            await content.release()

    return asyncio.run(main())


def test_the_artifact_of_the_last_run_that_has_completed(runs: Runs) -> None:
    async def prepare() -> None:
        await submitted(runs, COMPLETED, COMPLETED, COMPLETED)
        for number in range(3):
            await runs.store.put(RunKey("build", number), "out", body(b"of run %d" % number))

    assert after(runs, prepare) == b"of run 2"


def test_a_later_run_that_has_failed_does_not_count(runs: Runs) -> None:
    async def prepare() -> None:
        await submitted(runs, COMPLETED, failed("exit-code", "it exited with 1"))
        for number in range(2):
            await runs.store.put(RunKey("build", number), "out", body(b"of run %d" % number))

    assert after(runs, prepare) == b"of run 0"


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        self.read.append(name)
        async for piece in super().get(run, name, offset=offset):
            yield piece


def test_it_is_fetched_once(runs: Runs) -> None:
    runs.store = store = CountingStore()

    async def prepare() -> None:
        await submitted(runs, COMPLETED)
        await store.put(RunKey("build", 0), "out", body(DATA))
        for content in await asyncio.gather(*(runs.provide(task="build", artifact="out") for _ in range(3))):
            await content.release()

    assert after(runs, prepare) == DATA
    assert store.read == ["out"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("unpack", [True, False])
def test_what_its_store_has_compressed_is_decompressed(runs: Runs, encoding: str, unpack: bool) -> None:
    inner = gzip.compress(tar(entry("x", DATA))) if unpack else DATA
    stored = COMPRESS["gz" if encoding == "gzip" else "zst"](inner)

    async def prepare() -> None:
        await submitted(runs, COMPLETED)
        await runs.store.put(RunKey("build", 0), "out", body(stored), content_encoding=encoding)

    assert after(runs, prepare, unpack=unpack, sha256=hashlib.sha256(inner).hexdigest()) == DATA


def test_another_checksum_is_refused(runs: Runs) -> None:
    async def prepare() -> None:
        await submitted(runs, COMPLETED)
        await runs.store.put(RunKey("build", 0), "out", body(DATA))

    with pytest.raises(TaskFailed, match="has the sha256") as caught:
        after(runs, prepare, sha256="0" * 64)
    assert caught.value.reason == "mount-refused"
    assert runs.kept() == []


def test_a_bomb_is_refused(runs: Runs) -> None:
    async def prepare() -> None:
        await submitted(runs, COMPLETED)
        await runs.store.put(RunKey("build", 0), "out", body(gzip.compress(bytes(100 << 20))), content_encoding="gzip")

    with pytest.raises(TaskFailed, match="times as large"):
        after(runs, prepare)
    assert runs.kept() == []


MISSING: dict[str, tuple[Callable[[Runs], Awaitable[object]], str]] = {
    "no such artifact": (lambda runs: submitted(runs, COMPLETED), 'run build/0 has no artifact "out" in the store'),
    "the log": (lambda runs: submitted(runs, COMPLETED), "has no artifact"),
    "a failed task": (
        lambda runs: submitted(runs, failed("exit-code", "it exited with 1")),
        r"task build has ended as failed \(exit-code\)",
    ),
    "a task that waits": (submitted, "task build is pending: submit this one when it has completed"),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_not_there_is_the_authors_fault(runs: Runs, name: str) -> None:
    prepare, problem = MISSING[name]
    with pytest.raises(TaskFailed, match=problem) as caught:
        after(runs, lambda: prepare(runs), artifact="log" if name == "the log" else "out")
    assert caught.value.reason == "mount-missing"


def test_an_unknown_task(runs: Runs) -> None:
    with pytest.raises(TaskFailed, match="there is no task nobody in the queue"):
        after(runs, lambda: submitted(runs), task="nobody")


def test_a_queue_without_other_tasks_says_so(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryQueue, "status", Queue.status)
    with pytest.raises(NotSupported):
        after(runs, lambda: submitted(runs, COMPLETED))


class BrokenStore(MemoryStore):
    async def list(self, run: RunKey) -> list[Artifact]:
        raise Unavailable("the store is down")


def test_a_store_that_is_down_is_not_the_authors_fault(runs: Runs) -> None:
    runs.store = BrokenStore()
    with pytest.raises(Unavailable):
        after(runs, lambda: submitted(runs, COMPLETED))


class LyingStore(MemoryStore):
    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        yield b"half"


def test_a_store_that_sends_another_file(runs: Runs) -> None:
    runs.store = LyingStore()

    async def prepare() -> None:
        await submitted(runs, COMPLETED)
        await runs.store.put(RunKey("build", 0), "out", body(DATA))

    with pytest.raises(TaskFailedInternally, match="another file"):
        after(runs, prepare)
    assert runs.kept() == []


class StallingStore(MemoryStore):
    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        await asyncio.get_running_loop().create_future()
        yield b""


class SilentQueue(MemoryQueue):
    async def status(self, task_id: str) -> TaskStatus:
        raise await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("what", ["store", "queue"])
def test_one_that_stands_still_is_given_up(runs: Runs, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskrunner.content.artifact_origin.STALL_LIMIT", 0.2)
    if what == "store":
        runs.store = StallingStore()

    async def prepare() -> None:
        await submitted(runs, COMPLETED)
        await runs.store.put(RunKey("build", 0), "out", body(DATA))
        if what == "queue":
            runs.queue = SilentQueue("w1")

    with pytest.raises(Unavailable):
        after(runs, prepare)
    assert runs.kept() == []
