"""Finds calls that block the event loop: a worker that waits in one claims nothing, and renews no claim.

Seen are `time.sleep` and connections of blocking sockets, which HTTP and database clients make, in a thread whose loop
runs. Not seen are reads of files, which a disk answers in microseconds.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, SupportsIndex

KIT = __name__.rpartition(".")[0]

_LOOP = asyncio.BaseEventLoop.run_forever.__code__
"""What is called outside of this has begun the loop, and is no part of what blocks it."""

_watchers: list[Callable[[str], None]] = []
_installed: list[bool] = []


@contextmanager
def blocking_calls() -> Iterator[list[str]]:
    """A list that collects a line for each blocking call in a running loop, while the block runs."""
    if not _installed:
        _installed.append(True)
        sys.addaudithook(_hook)  # it stays until the interpreter ends
    found: list[str] = []
    report = found.append
    sleep = time.sleep

    def watched_sleep(seconds: float | SupportsIndex, /) -> None:
        if float(seconds) > 0:
            _blocked("time.sleep", sys._getframe(1))  # noqa: SLF001  there is no public way to the caller
        sleep(seconds)

    _watchers.append(report)
    time.sleep = watched_sleep
    try:
        yield found
    finally:
        time.sleep = sleep
        _watchers.remove(report)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _watchers and args[0].gettimeout() != 0:
        _blocked("a connection of a blocking socket", sys._getframe(1))  # noqa: SLF001  as above


def _blocked(what: str, caller: FrameType) -> None:
    if asyncio._get_running_loop() is not None and (place := _place(caller)):  # noqa: SLF001  `get_running_loop` raises
        for report in _watchers:
            report(f"{what} at {place}")


def _place(frame: FrameType | None) -> str:
    """The line of the plugin that called. Empty for a hook of the kit, which may block: its author wrote a test."""
    place = "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
    while frame is not None and frame.f_code is not _LOOP:
        if getattr(frame.f_locals.get("self"), "is_conformance_kit", False):
            return place if frame.f_globals.get("__name__", "").startswith(KIT) else ""
        frame = frame.f_back
    return place


__all__ = ["blocking_calls"]
