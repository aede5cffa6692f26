"""Calls of a file: at once while the disk is prompt, in the thread otherwise."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from taskrunner.errors import Unavailable
from taskrunner.model import COMPLETED, Submission
from taskrunner.queues.ledger.claims import Grant
from taskrunner.queues.sqlite import calls
from taskrunner.queues.sqlite.queue import SqliteQueue

LONG = 600.0
PATIENCE = 30.0


@pytest.fixture(autouse=True)
def prompt_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine may be busy."""
    monkeypatch.setattr(calls, "PROMPT", LONG)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@asynccontextmanager
async def prompt_queue(path: Path) -> AsyncIterator[SqliteQueue]:
    """Its next call is made at once."""
    queue = SqliteQueue(path, "alice")
    try:
        for _ in range(calls.PROMPT_CALLS):
            await queue.pending()
        yield queue
    finally:
        await queue.close()


async def thread_of(queue: SqliteQueue) -> int:
    return await queue._do(lambda _: threading.get_ident())


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.with_name(f"{path.name}.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_call_is_made_at_once_after_enough_prompt_ones(path: Path) -> None:
    async def main() -> None:
        here = threading.get_ident()
        queue = SqliteQueue(path, "alice")
        threads = [await thread_of(queue) for _ in range(calls.PROMPT_CALLS + 2)]
        assert here not in threads[: calls.PROMPT_CALLS]
        assert threads[calls.PROMPT_CALLS :] == [here, here]
        await queue.close()

    asyncio.run(main())


def test_a_slow_call_sends_the_next_ones_to_the_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        here = threading.get_ident()
        async with prompt_queue(path) as queue:
            with monkeypatch.context() as slow:
                slow.setattr(calls, "PROMPT", 0.0)
                assert await thread_of(queue) == here
            for _ in range(calls.PROMPT_CALLS):
                assert await thread_of(queue) != here
            assert await thread_of(queue) == here

    asyncio.run(main())


def test_calls_at_once_leave_the_loop_to_others(path: Path) -> None:
    async def main() -> None:
        async with prompt_queue(path) as queue:
            other = asyncio.create_task(asyncio.sleep(0))
            for _ in range(3):
                await queue.pending()
            assert other.done()

    asyncio.run(main())


def test_a_lock_of_another_process_is_waited_for_in_the_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with prompt_queue(path) as queue:
            with locked(path), monkeypatch.context() as impatient:
                impatient.setattr(calls, "CALL_LIMIT", 0.3)
                with pytest.raises(Unavailable, match="locked by another process"):
                    await queue.submit(Submission("one", {}))
            [claim] = await queue.claim(1, lease=LONG, wait=LONG)
            assert await queue.resolve(claim, COMPLETED) == "applied"

    asyncio.run(main())


def test_another_program_that_writes_is_waited_for_in_the_thread(path: Path) -> None:
    async def main() -> None:
        async with prompt_queue(path) as queue:
            db = sqlite3.connect(path, isolation_level=None)
            db.execute("BEGIN IMMEDIATE")
            submitting = asyncio.create_task(queue.submit(Submission("one", {})))
            async with asyncio.timeout(PATIENCE):
                while queue._calls._prompt:  # noqa: ASYNC110  until it was refused at once
                    await asyncio.sleep(0)
            assert not submitting.done()
            db.execute("ROLLBACK")
            db.close()
            assert await submitting
            [timeout] = await queue._do(lambda ledger: ledger.db.execute("PRAGMA busy_timeout").fetchone())
            assert timeout > 0

    asyncio.run(main())


def test_a_call_that_is_still_in_the_thread_is_not_overtaken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        here = threading.get_ident()
        async with prompt_queue(path) as queue:
            with locked(path), monkeypatch.context() as impatient:
                impatient.setattr(calls, "CALL_LIMIT", 0.1)
                with pytest.raises(Unavailable):
                    await queue.submit(Submission("one", {}))
                queue._calls._prompt = calls.PROMPT_CALLS
                with pytest.raises(Unavailable):
                    await thread_of(queue)
            assert await thread_of(queue) != here
            assert await queue.pending() == 1

    asyncio.run(main())


def test_a_late_grant_is_released_while_nobody_else_uses_the_file(path: Path) -> None:
    """It is released in the thread, at a moment when the loop makes calls at once."""

    async def main() -> None:
        async with prompt_queue(path) as queue, prompt_queue(path) as other:
            await queue.submit(Submission("one", {}))
            [claim] = await queue.claim(1, lease=LONG, wait=0)
            loop = asyncio.get_running_loop()
            with queue._calls._in_use:
                releasing = loop.run_in_executor(None, queue._release, Grant([claim]))
                async with asyncio.timeout(PATIENCE):
                    while not any(frame_of_release()):  # noqa: ASYNC110  until it waits for its turn
                        await asyncio.sleep(0)
                assert (await other.status("one")).state == "running"
            await releasing
            assert (await other.status("one")).state == "pending"

    asyncio.run(main())


def frame_of_release() -> Iterator[bool]:
    """Whether a thread is in `in_turn`."""
    return (frame.f_code.co_name == "in_turn" for frame in sys._current_frames().values())
