"""Tasks that run `true`, against starting `true` from a bare asyncio program.

    python bench/process.py

One at a time, on a warm worker: from the submission until a watcher sees the resolution, against one spawn and its end.
Then eight at a time: the rate of a worker with eight slots and a full queue, against a loop that keeps eight spawns
running. Both sides alternate, so that a busy machine is busy for both. Exits with 1 when a target is missed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from taskrunner import SqliteQueue, Submission

TASKRUNNER = Path(sys.executable).with_name("taskrunner")

WARM_UP = 10
"""Tasks before the measurement: the first one opens the platform."""
PAIRS = 100
"""Pairs of a spawn and a task."""
MAX_ADDED = 0.008
"""Seconds that a task may take longer than a spawn, at the median."""

SLOTS = 8
ROUNDS = 5
TASKS = 600
"""In the queue of one round; the first SETTLE of them are not counted."""
SETTLE = 100
SPAWNS = 600
MIN_RATE = 0.16
"""Our rate as a part of the bare loop's, at least."""

STOP_LIMIT = 60.0
"""Seconds for a worker to end: only a broken one takes as long."""


async def spawn() -> None:
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()


async def seconds_of(work: object) -> float:
    began = time.perf_counter()
    await work  # type: ignore[misc]  # a coroutine
    return time.perf_counter() - began


@asynccontextmanager
async def worker(home: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker as an operator starts it. It is stopped at the end, unless it has stopped by itself."""
    with (home / "worker.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            TASKRUNNER, "run", *arguments, env=os.environ | {"TASKRUNNER_HOME": str(home)}, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), STOP_LIMIT)


async def submit(queue: SqliteQueue, task_id: str) -> None:
    await queue.submit(Submission(task_id, {"id": task_id, "platform": "process", "command": ["true"]}))


async def run_one(queue: SqliteQueue, task_id: str) -> None:
    await submit(queue, task_id)
    async for status in queue.watch(task_id):
        if status.resolution and status.resolution.kind != "completed":
            raise RuntimeError(f"{task_id}: {status.resolution}")


async def latency(home: Path) -> tuple[list[float], list[float]]:
    """Seconds of each spawn, and of each task."""
    queue = SqliteQueue(home / "queue.db", "")
    async with worker(home):
        for number in range(WARM_UP):
            await run_one(queue, f"warm-{number}")
        pairs = [
            (await seconds_of(spawn()), await seconds_of(run_one(queue, f"task-{number}"))) for number in range(PAIRS)
        ]
    await queue.close()
    return [bare for bare, _ in pairs], [ours for _, ours in pairs]


async def bare_rate() -> float:
    """Spawns a second, SLOTS of them at a time."""
    room = asyncio.Semaphore(SLOTS)

    async def one() -> None:
        async with room:
            await spawn()

    return SPAWNS / await seconds_of(asyncio.gather(*(one() for _ in range(SPAWNS))))


async def our_rate(home: Path) -> float:
    """Tasks a second, from a queue that is full when the worker starts; by the times in the queue."""
    queue = SqliteQueue(home / "queue.db", "")
    for number in range(TASKS):
        await submit(queue, f"task-{number}")
    async with worker(home, "--capacity", str(SLOTS), "--until-empty") as process:
        await process.wait()
    ends = []
    async for status in queue.list(limit=TASKS):
        if not status.resolution or status.resolution.kind != "completed" or not status.runs[-1].resolved:
            raise RuntimeError(f"{status.task_id}: {status.resolution}")
        ends.append(status.runs[-1].resolved)
    await queue.close()
    ends.sort()
    return (TASKS - SETTLE) / (ends[-1] - ends[SETTLE - 1]).total_seconds()


async def rates(folder: Path) -> list[tuple[float, float]]:
    """The bare loop's rate and ours in each round; the bare one is the mean of a measurement before and one after."""
    found = []
    before = await bare_rate()
    for number in range(ROUNDS):
        ours = await our_rate(new_home(folder, f"round-{number}"))
        after = await bare_rate()
        found.append(((before + after) / 2, ours))
        before = after
    return found


def new_home(folder: Path, name: str) -> Path:
    """Homes are removed together at the end: for each new inode, ext4 skips those that were freed in the last minutes,
    so that the removal of thousands would slow the next measurement."""
    home = folder / name
    home.mkdir()
    return home


def load() -> str:
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="taskrunner-bench-") as folder:
        return measure(Path(folder))


def measure(folder: Path) -> int:
    print(f"homes are in {folder.parent}")
    print(f"one at a time, {PAIRS} pairs, {load()}", flush=True)
    spawns, tasks = asyncio.run(latency(new_home(folder, "latency")))
    added = statistics.median(tasks) - statistics.median(spawns)
    print(f"  {'spawn':12} {1e3 * statistics.median(spawns):7.1f} ms at the median")
    print(f"  {'task':12} {1e3 * statistics.median(tasks):7.1f} ms")
    print(f"  {'added':12} {1e3 * added:7.1f} ms, at most {1e3 * MAX_ADDED:.0f}")

    print(f"{SLOTS} at a time, {ROUNDS} rounds of {TASKS} tasks, {load()}", flush=True)
    found = asyncio.run(rates(folder))
    ratio = statistics.median(ours / bare for bare, ours in found)
    print(f"  {'bare loop':12} {statistics.median(bare for bare, _ in found):7.0f} a second at the median")
    print(f"  {'tasks':12} {statistics.median(ours for _, ours in found):7.0f} a second")
    print(f"  {'ratio':12} {ratio:7.2f}, at least {MIN_RATE}; by round:", *(f"{o / b:.2f}" for b, o in found))
    print(f"  {load()} at the end")
    return int(added > MAX_ADDED or ratio < MIN_RATE)


if __name__ == "__main__":
    sys.exit(main())
