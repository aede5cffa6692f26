"""Outlet: lines to a stream that must never hold up a worker.

Somebody who pauses `taskrunner run | less`, or presses Ctrl-S, stops the one who writes. In the event loop that would
stop every run's claim from being renewed, so lines are written by a thread of their own.
"""

from __future__ import annotations

import threading
from queue import Full, Queue
from typing import TextIO

import click

from taskrunner.cli.common import mute

MOST_LINES = 10_000
"""Lines that wait for a reader who has paused; more than these are left out."""


class Outlet:
    """One stream. A reader who has gone is no error: lines then go nowhere."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lines: Queue[str | None] = Queue(MOST_LINES)
        self._left_out = 0
        self._thread = threading.Thread(target=self._write_all, name="outlet", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """From any thread; returns at once."""
        try:
            if self._left_out:
                self._lines.put_nowait(f"# {self._left_out} lines were left out here: nobody read them in time")
                self._left_out = 0
            self._lines.put_nowait(line)
        except Full:
            self._left_out += 1

    def close(self) -> None:
        """Waits until all is written, however long its reader takes: there is nothing left to hold up."""
        self._lines.put(None)
        self._thread.join()

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            if self._stream:  # a process may be started without one
                self._write(self._stream, line)

    def _write(self, stream: TextIO, line: str) -> None:
        try:
            click.echo(line, file=stream)
        except (OSError, ValueError):
            mute(stream)
