"""The processes of the small platform: finding them by a variable, killing them, writing to them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from taskrunner import Input

RUN, EXEC = "SMALL_RUN", "SMALL_EXEC"
"""Variables that every process of a run, and of a command beside it, inherits."""

INTERVAL = 0.005


def processes(variable: str, value: str, *, prefix: bool = False) -> list[int]:
    """The processes that were started with this variable."""
    wanted, found = f"{variable}={value}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                variables = (entry / "environ").read_bytes().split(b"\0")
                if any(each == wanted or (prefix and each.startswith(wanted)) for each in variables):
                    found.append(int(entry.name))
    return found


def processes_in(folder: Path) -> list[int]:
    """The processes that work in this folder, or below it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if Path((entry / "cwd").readlink()).is_relative_to(folder):
                    found.append(int(entry.name))
    return found


def kill(pids: Sequence[int], number: int = signal.SIGKILL) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


async def kill_all(variable: str, value: str, number: int = signal.SIGKILL) -> None:
    """Kills until there is none, twice in a row: a process may start another meanwhile, and one in the middle of `exec`
    has no environment."""
    searches = 0
    while searches < 2:
        pids = processes(variable, value)
        searches = 0 if pids else searches + 1
        kill(pids, number)
        await asyncio.sleep(INTERVAL)


class PipeInput(Input):
    def __init__(self, number: int) -> None:
        self.number = number
        os.set_blocking(number, False)

    async def write(self, data: bytes) -> None:
        while data:
            if self.number < 0:
                raise BrokenPipeError("it is closed")
            try:
                data = data[os.write(self.number, data) :]
            except BlockingIOError:
                await asyncio.sleep(INTERVAL)

    async def close(self) -> None:
        if self.number >= 0:
            os.close(self.number)
            self.number = -1
