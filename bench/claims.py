"""Claims and resolutions of one worker, one after the other, against the same transactions without an event loop.

    python bench/claims.py

Both sides alternate, on a queue in a file each. Exits with 1 when the target is missed. `TMPDIR=/dev/shm` measures on
tmpfs: on a disk, each resolution waits until it is synced, and both sides are as fast as that.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from taskrunner import SqliteQueue, Submission
from taskrunner.model import COMPLETED
from taskrunner.queues.ledger import claims, tasks
from taskrunner.queues.ledger.claims import Holder
from taskrunner.queues.sqlite.boottime import boottime
from taskrunner.queues.sqlite.file import LedgerFile
from taskrunner.queues.submission import check_submission

ROUNDS = 20
TASKS = 100
"""Of each side in a round."""
LEASE = 60.0
MIN_RATIO = 0.5
"""The queue's rate as a part of the bare one, at least."""


def submission(number: int) -> Submission:
    task_id = f"task-{number}"
    return Submission(task_id, {"id": task_id, "platform": "process", "command": ["true"]})


async def queue_rate(queue: SqliteQueue) -> float:
    began = time.perf_counter()
    for _ in range(TASKS):
        (claim,) = await queue.claim(1, lease=LEASE, wait=0)
        await queue.resolve(claim, COMPLETED)
    return TASKS / (time.perf_counter() - began)


def bare_rate(file: LedgerFile, holder: Holder) -> float:
    began = time.perf_counter()
    for _ in range(TASKS):
        (claim,) = file.perform(partial(claims.claim, n=1, holder=holder, lease=LEASE)).claims
        file.perform(partial(claims.resolve, held=claim, resolution=COMPLETED))
    return TASKS / (time.perf_counter() - began)


async def measure(folder: Path) -> int:
    queue, file = SqliteQueue(folder / "queue.db", "bench"), LedgerFile(folder / "bare.db", boottime)
    for number in range(ROUNDS * TASKS):
        one = submission(number)
        await queue.submit(one)
        file.perform(partial(tasks.submit, submission=one, document=check_submission(one)))
    pairs = [(bare_rate(file, Holder("bench")), await queue_rate(queue)) for _ in range(ROUNDS)]
    await queue.close()
    file.close()
    bare, ours = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    ratio = statistics.median(ours / bare for bare, ours in pairs)
    print(f"the file is in {folder.parent}, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"  {'bare':6} {bare:7.0f} claims and resolutions a second at the median")
    print(f"  {'queue':6} {ours:7.0f} a second, {max(ours for _, ours in pairs):.0f} at best")
    print(f"  {'ratio':6} {ratio:7.2f}, at least {MIN_RATIO}")
    return int(ratio < MIN_RATIO)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="taskrunner-bench-") as folder:
        return asyncio.run(measure(Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
