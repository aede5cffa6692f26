"""The processes of a command in a container, as this machine sees them: found by the marker in their environment.

This works in every image, also without a shell, and takes milliseconds; and it does not where Docker runs on another
machine or in another PID namespace, or where the worker may not read the environment of the command's user.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs

PROC = Path("/proc")

LIMIT = 5.0
"""Seconds in which killed processes have to vanish. What the kernel keeps for longer is the caller's to report."""

STATE, PARENT, START = 0, 1, 19
"""Places in /proc/PID/stat after the name."""

PAUSE = 0.002
"""Seconds between two rounds: a killed process ends in less."""


@attrs.frozen
class Process:
    """One process, also when its number is that of another one later."""

    pid: int
    start: bytes
    """When it began, in ticks since the boot."""


def kill_marked(marker: str, limit: float = LIMIT) -> bool:
    """Kills every process that has this variable (`NAME=value`), and what descends from one. Returns whether there was
    any. Blocks.

    Everything is stopped before it is killed: what is stopped starts nothing, so a round that finds nothing new is the
    last one.
    """
    until, found = time.monotonic() + limit, set[Process]()
    while alive := _marked(marker.encode(), found):
        fresh, found = alive - found, found | alive
        for process in fresh or alive:
            _send(process.pid, signal.SIGSTOP if fresh else signal.SIGKILL)
        if time.monotonic() > until:
            break
        if not fresh:
            time.sleep(PAUSE)
    return bool(found)


def _marked(marker: bytes, known: set[Process]) -> set[Process]:
    """The processes that are alive: marked ones, known ones, and their children, which may have another environment."""
    children: dict[int, list[Process]] = {}
    found: list[Process] = []
    for process, parent in _processes():
        children.setdefault(parent, []).append(process)
        if process in known or _has(process.pid, marker):
            found.append(process)
    for process in found:  # grows meanwhile
        found += [child for child in children.pop(process.pid, ()) if child not in found]
    return set(found)


def _processes() -> Iterator[tuple[Process, int]]:
    """Each process that is alive, and the number of its parent."""
    for name in os.listdir(PROC) if PROC.is_dir() else ():  # noqa: PTH208  names are enough
        with suppress(OSError):
            if name.isdigit():
                text = (PROC / name / "stat").read_bytes()
                fields = text[text.rindex(b")") + 2 :].split()  # the name before may hold anything
                if fields[STATE] not in {b"Z", b"X"}:
                    yield Process(int(name), fields[START]), int(fields[PARENT])


def _has(pid: int, marker: bytes) -> bool:
    try:
        return marker in (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
