"""Workers that are killed, frozen and robbed of what they need, at random, while tasks of all kinds go on."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import attrs

from tests.support.docker_proxy import DockerProxy
from tests.support.e2e import Site, WorkerProcess

PAUSE = 1.0
"""Seconds between two faults, on average; a fault lasts as long."""


@attrs.define(eq=False)
class Faults:
    """One run of faults on a site. The same seed gives the same faults, at about the same times."""

    site: Site
    proxy: DockerProxy
    random: Random
    tasks: Callable[[], list[str]]
    """Those that have not ended, as far as their submitter knows."""
    canceled: set[str] = attrs.field(factory=set)
    workers: list[WorkerProcess] = attrs.field(factory=list)
    count: Counter[str] = attrs.field(factory=Counter)

    async def go_on(self, seconds: float, workers: int, submit: Callable[[], None]) -> None:
        """Keeps so many workers alive, injects faults, and calls `submit` before each. At the end nothing is frozen,
        locked or full."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        kinds = [
            *(self.kill, self.terminate, self.freeze, self.cancel),
            *(self.stall_docker, self.restart_docker, self.refuse_docker, self.cut_docker, self.lock, self.fill),
        ]
        while loop.time() < end:
            self.workers = [worker for worker in self.workers if worker.process.poll() is None]
            while len(self.workers) < workers:
                self.workers.append(self.site.worker("--capacity", "2"))
            await asyncio.to_thread(submit)
            await self.pause()
            fault: Callable[[], Awaitable[None]] = self.random.choice(kinds)
            self.count[fault.__name__] += 1
            await fault()

    async def pause(self) -> None:
        await asyncio.sleep(self.random.uniform(0.2, 2 * PAUSE))

    async def kill(self) -> None:
        self._send(signal.SIGKILL)

    async def terminate(self) -> None:
        self._send(signal.SIGTERM)

    async def freeze(self) -> None:
        worker = self._send(signal.SIGSTOP)
        try:
            await asyncio.sleep(self.random.uniform(0.5, 6))  # the longest is longer than a lease
        finally:
            worker.process.send_signal(signal.SIGCONT)

    async def stall_docker(self) -> None:
        self.proxy.freeze()
        try:
            await self.pause()
        finally:
            self.proxy.resume()

    async def restart_docker(self) -> None:
        await self.proxy.close_all()

    async def refuse_docker(self) -> None:
        """Nobody listens, as after the daemon has ended."""
        await self.proxy.refuse()
        await self._recover_docker()

    async def cut_docker(self) -> None:
        """Answers end in their middle."""
        await self.proxy.cut(self.random.choice([1, 100, 10_000]))
        await self._recover_docker()

    async def _recover_docker(self) -> None:
        try:
            await self.pause()
        finally:
            await self.proxy.recover()

    async def cancel(self) -> None:
        """The submitter does not know whether a task has ended."""
        if tasks := self.tasks():
            task = self.random.choice(tasks)
            self.canceled.add(task)
            await asyncio.to_thread(self.site.cancel, task)

    async def lock(self) -> None:
        """Nobody else can write to the queue meanwhile."""
        with closing(sqlite3.connect(self.site.folder / "queue.db", timeout=10, isolation_level=None)) as database:
            with suppress(sqlite3.OperationalError):  # a worker that is frozen has it
                database.execute("BEGIN IMMEDIATE")
            await self.pause()

    async def fill(self) -> None:
        """No byte is free in the home meanwhile."""
        path = fill(self.site.home)
        try:
            await self.pause()
        finally:
            path.unlink()

    def _send(self, number: signal.Signals) -> WorkerProcess:
        worker = self.random.choice(self.workers)
        worker.process.send_signal(number)
        return worker


def small_disk(path: Path, size: int) -> list[str]:
    """The command that mounts a disk of so many bytes."""
    return ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700,uid={os.getuid()}", "taskrunner-test", str(path)]


def fill(disk: Path) -> Path:
    """Leaves no byte free in a folder. Returns the file that has them."""
    path = disk / "full"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    return path
