"""The two sides of each benchmark of containers: tasks of a worker that runs already, and Docker's own command."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "script")]

from base_image import IMAGE, ensure_base_image  # noqa: E402  the checkout's own modules are on the path only now

from taskrunner.model import RunKey  # noqa: E402
from taskrunner.queues.sqlite.queue import SqliteQueue  # noqa: E402
from taskrunner.schema.task import submission_of  # noqa: E402
from taskrunner.state.journal_reader import FINAL, read_journal  # noqa: E402
from taskrunner.state.run_folder import RunFolder  # noqa: E402

__all__ = [
    "DOCKER",
    "IMAGE",
    "LIMIT",
    "Worker",
    "ensure_base_image",
    "load",
    "peak",
    "run_docker",
    "seconds_of",
    "worker",
]

DOCKER = "/usr/bin/docker"
TASKRUNNER = Path(sys.executable).with_name("taskrunner")
LIMIT = 300.0
"""Seconds for one task or command: only a broken side takes as long."""
POLL_INTERVAL = 0.005
"""Seconds between two looks at a run's journal."""


@attrs.define
class Worker:
    """A worker of its own home, as an operator starts it."""

    home: Path
    pid: int
    queue: SqliteQueue
    _number: int = 0

    def new_id(self) -> str:
        self._number += 1
        return f"task-{self._number}"

    async def submit(self, document: Mapping[str, Any]) -> str:
        """Submits a container task. Returns its id."""
        task_id = self.new_id()
        await self.queue.submit(submission_of({"id": task_id, "platform": "docker", **document}))
        return task_id

    async def resolved(self, task_id: str) -> None:
        """Raises RuntimeError when the task has not completed."""
        async with asyncio.timeout(LIMIT):
            async for status in self.queue.watch(task_id):
                if status.resolution and status.resolution.kind != "completed":
                    raise RuntimeError(f"{task_id}: {status.resolution}: {status.resolution.message}")

    async def cleaned(self, task_id: str) -> None:
        """Returns when nothing of the run is left, and its slot is free."""
        journal = RunFolder(self.home, RunKey(task_id, 0)).journal
        async with asyncio.timeout(LIMIT):
            while not any(record.state == FINAL for record in read_journal(journal)):  # noqa: ASYNC110  another process
                await asyncio.sleep(POLL_INTERVAL)

    async def run(self, document: Mapping[str, Any]) -> str:
        task_id = await self.submit(document)
        await self.resolved(task_id)
        return task_id


@asynccontextmanager
async def worker(home: Path, *arguments: str, capacity: int = 1) -> AsyncIterator[Worker]:
    home.mkdir(exist_ok=True)  # noqa: ASYNC240  nothing else runs yet
    with (home / "worker.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            TASKRUNNER,
            *("run", "--capacity", str(capacity), *arguments),
            env=os.environ | {"TASKRUNNER_HOME": str(home)},
            stdout=log,
            stderr=log,
        )
    queue = SqliteQueue(home / "queue.db", "")
    try:
        yield Worker(home, process.pid, queue)
    finally:
        await queue.close()
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), LIMIT)


async def run_docker(*arguments: str, stdout: int = subprocess.DEVNULL) -> bytes:
    """One call of Docker's command, which uses BuildKit. Raises RuntimeError when it fails."""
    process = await asyncio.create_subprocess_exec(
        *(DOCKER, *arguments),
        env=os.environ | {"DOCKER_BUILDKIT": "1"},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), LIMIT)
    if process.returncode:
        raise RuntimeError(f"docker {' '.join(arguments)}: {errors.decode()}")
    return output or b""


async def seconds_of(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


def peak(pid: int) -> int:
    """Bytes: the most that was resident."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) << 10


def load() -> str:
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
