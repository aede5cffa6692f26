"""Containers that run `true`, against `docker run --rm`.

    python bench/container.py

One at a time, on a warm worker: from the submission until a watcher sees the resolution, against `docker run --rm` on
the default network, and with the network of a ready pause container. Then 32 tasks at eight slots, until all of them
are removed, against `xargs -P8 docker run --rm`. The sides alternate, so that a busy machine is busy for both. Exits
with 1 when a target is missed.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from docker_sides import DOCKER, IMAGE, LIMIT, Worker, ensure_base_image, load, run_docker, seconds_of, worker

TASK = {"image": IMAGE, "command": ["true"]}
WARM_UP = 3
"""Tasks before the measurement: the first ones open the platform and make the pause containers."""
ROUNDS = 15
MAX_DEFAULT = 0.65
"""Our time as a part of that of `docker run --rm`, at most."""
MAX_JOINED = 1.1
"""Of that which joins a ready pause container, at most."""

SLOTS, TASKS, RATE_ROUNDS = 8, 32, 3
MIN_RATE = 1.0
"""Our rate as a part of that of `xargs`, at least."""

Times = dict[str, list[float]]
"""Side to its seconds."""


def run_true(*options: str) -> tuple[str, ...]:
    return ("run", "--rm", *options, IMAGE, "true")


@asynccontextmanager
async def pause_container() -> AsyncIterator[str]:
    """Its id, while it runs."""
    made = await run_docker("run", "--detach", "--rm", IMAGE, "sleep", str(int(LIMIT)), stdout=subprocess.PIPE)
    pause = made.decode().strip()
    try:
        yield pause
    finally:
        await run_docker("rm", "--force", pause)


async def one_at_a_time(running: Worker, pause: str) -> Times:
    for _ in range(WARM_UP):
        await running.cleaned(await running.run(TASK))
    times: Times = {"task": [], "docker run": [], "joined": []}
    for _ in range(ROUNDS):
        task_id = await running.submit(TASK)
        times["task"].append(await seconds_of(running.resolved(task_id)))
        await running.cleaned(task_id)
        times["docker run"].append(await seconds_of(run_docker(*run_true())))
        times["joined"].append(await seconds_of(run_docker(*run_true("--network", f"container:{pause}"))))
    return times


async def our_batch(running: Worker) -> None:
    """Until nothing of the runs is left."""
    ids = [await running.submit(TASK) for _ in range(TASKS)]
    await asyncio.gather(*(running.resolved(task_id) for task_id in ids))
    await asyncio.gather(*(running.cleaned(task_id) for task_id in ids))


async def xargs_batch() -> None:
    command = ["xargs", "-P", str(SLOTS), "-I", "{}", DOCKER, *run_true()]
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    await asyncio.wait_for(process.communicate(b"x\n" * TASKS), LIMIT)
    if process.returncode:
        raise RuntimeError(f"xargs ended with {process.returncode}")


async def eight_at_a_time(running: Worker) -> Times:
    await our_batch(running)
    times: Times = {"tasks": [], "xargs": []}
    for _ in range(RATE_ROUNDS):
        times["tasks"].append(await seconds_of(our_batch(running)))
        times["xargs"].append(await seconds_of(xargs_batch()))
    return times


def report(times: Times, mine: str, limits: dict[str, float]) -> bool:
    """Prints the medians and the ratios; whether these are within the limits. Each ratio is that of one round."""
    for side, seconds in times.items():
        print(f"  {side:12} {statistics.median(seconds):6.3f} s, {min(seconds):.3f} to {max(seconds):.3f}")
    ratios = {side: statistics.median(a / b for a, b in zip(times[mine], times[side], strict=True)) for side in limits}
    for side, limit in limits.items():
        print(f"  of {side:10} {ratios[side]:6.2f}, at most {limit}{'' if ratios[side] <= limit else '   MISSED'}")
    return all(ratios[side] <= limit for side, limit in limits.items())


async def measure(folder: Path) -> int:
    async with worker(folder / "one") as running, pause_container() as pause:
        print(f"one at a time, {ROUNDS} rounds, {load()}", flush=True)
        single = report(await one_at_a_time(running, pause), "task", {"docker run": MAX_DEFAULT, "joined": MAX_JOINED})
    async with worker(folder / "eight", capacity=SLOTS) as running:
        print(f"{TASKS} at {SLOTS} slots, {RATE_ROUNDS} rounds, {load()}", flush=True)
        many = report(await eight_at_a_time(running), "tasks", {"xargs": 1 / MIN_RATE})
    return int(not (single and many))


def main() -> int:
    ensure_base_image()
    with tempfile.TemporaryDirectory(prefix="taskrunner-bench-") as folder:
        return asyncio.run(measure(Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
