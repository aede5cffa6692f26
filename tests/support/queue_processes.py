"""Processes that use one queue file: workers that can be killed and suspended, and another holder of its lock."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__)
ROOT = HERE.parents[2]
PATIENCE = 120.0
"""Seconds after which a condition counts as never met."""


def soon(met: Callable[[], bool], limit: float) -> bool:
    """Whether a condition outside of this process is met within so many seconds."""
    end = time.monotonic() + limit
    while not met():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def until(met: Callable[[], bool]) -> None:
    """Returns when a condition outside of this process is met."""
    assert soon(met, PATIENCE), "it never happened"


class Workers:
    """Processes that claim, pause and resolve; each writes its events into one file."""

    def __init__(self, prefix: str, queue: Path, events: Path, *, lease: float, pause: float) -> None:
        self._arguments = [str(queue), str(events), str(lease), str(pause)]
        self._events, self._prefix = events, prefix
        self.processes: list[subprocess.Popen[bytes]] = []
        events.touch()

    def start(self) -> subprocess.Popen[bytes]:
        name = f"{self._prefix}worker-{len(self.processes)}"
        command = [sys.executable, "-m", "tests.support.queue_worker", name, *self._arguments]
        process = subprocess.Popen(command, cwd=ROOT)
        self.processes.append(process)
        return process

    def lines(self, word: str) -> list[list[str]]:
        """The events `granted`, `applied` or `lost`: the word, task, worker, run and token of each."""
        return [line.split() for line in self._events.read_text().splitlines() if line.startswith(f"{word} ")]

    def count(self, word: str) -> Counter[str]:
        return Counter(line[1] for line in self.lines(word))

    def alive(self) -> list[subprocess.Popen[bytes]]:
        return [process for process in self.processes if process.poll() is None]

    def end(self) -> None:
        for process in self.alive():
            process.kill()
        for process in self.processes:
            process.wait()


def suspend(process: subprocess.Popen[bytes]) -> None:
    """Suspends a process, and returns when it is suspended."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)


@contextmanager
def locked(queue: Path) -> Iterator[None]:
    """Holds the write lock of a queue, like a process that was suspended in the middle of a transaction."""
    with queue.with_name(f"{queue.name}.lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
