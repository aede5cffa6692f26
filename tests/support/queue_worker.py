"""A worker for the tests of a queue file: `queue_worker NAME QUEUE EVENTS LEASE PAUSE`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from taskrunner.errors import ClaimLost, Unavailable
from taskrunner.model import COMPLETED, Claim
from taskrunner.queues.sqlite.queue import SqliteQueue

T = TypeVar("T")


async def work(name: str, path: Path, events: int, lease: float, pause: float) -> None:
    queue = SqliteQueue(path, name)
    while True:
        for claim in await answered(lambda: queue.claim(1, lease=lease, wait=60)):
            write_event(events, "granted", claim, name)
            await asyncio.sleep(pause)
            try:
                write_event(events, await answered(lambda: queue.resolve(claim, COMPLETED)), claim, name)  # noqa: B023
            except ClaimLost:
                write_event(events, "lost", claim, name)


async def answered(call: Callable[[], Awaitable[T]]) -> T:
    """The result of a call that is repeated while the queue is unavailable."""
    while True:
        with suppress(Unavailable):
            return await call()


def write_event(events: int, word: str, claim: Claim, name: str) -> None:
    os.write(events, f"{word} {claim.task_id} {name} {claim.run_id} {claim.token}\n".encode())


if __name__ == "__main__":
    asyncio.run(
        work(
            sys.argv[1],
            Path(sys.argv[2]),
            os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND),
            float(sys.argv[4]),
            float(sys.argv[5]),
        )
    )
