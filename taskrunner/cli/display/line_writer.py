"""LineWriter: lines to a stream that must never hold up a worker.

Somebody who pauses `taskrunner run | less`, or presses Ctrl-S, stops the one who writes. In the event loop that would
stop every run's claim from being renewed, so lines are written by a thread of their own. It writes all that wait
together, and not more often than anybody can read: each time it wakes up, the event loop has to wait for it.
"""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TextIO

import click

from taskrunner.cli.options import mute

MOST_LINES = 10_000
"""Lines that wait for a reader who has paused; more than these are left out."""

PAUSE = 0.02
"""Seconds between two writes: a screen does not show more than about fifty a second."""


SETTLE = 1.0
"""Seconds to wait for a reader before something else is shown to him."""


class LineWriter:
    """One stream. A reader who has gone is no error: lines then go nowhere."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lines: SimpleQueue[str | threading.Event | None] = SimpleQueue()
        self._left_out = 0
        self._thread = threading.Thread(target=self._write_all, name="line writer", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """From any thread; returns at once."""
        if self._lines.qsize() >= MOST_LINES:
            self._left_out += 1
            return
        if self._left_out:
            self._lines.put(f"# {self._left_out} lines were left out here: nobody read them in time")
            self._left_out = 0
        self._lines.put(line)

    def settle(self) -> None:
        """Waits until what was written so far is with its reader, or for SETTLE when he has paused."""
        there = threading.Event()
        self._lines.put(there)
        there.wait(SETTLE)

    def close(self) -> None:
        """Waits until all is written, however long its reader takes: there is nothing left to hold up."""
        self._lines.put(None)
        self._thread.join()

    def _write_all(self) -> None:
        while lines := self._waiting():
            text = "\n".join(line for line in lines if isinstance(line, str))
            if text and self._stream:  # a process may be started without one
                self._write(self._stream, text)
            for there in lines:
                if isinstance(there, threading.Event):
                    there.set()
            if lines[-1] is None:
                return
            time.sleep(PAUSE)

    def _waiting(self) -> list[str | threading.Event | None]:
        """All that wait, at least one."""
        lines = [self._lines.get()]
        try:
            while lines[-1] is not None:
                lines.append(self._lines.get_nowait())
        except Empty:
            pass
        return lines

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            click.echo(text, file=stream)
        except (OSError, ValueError):
            mute(stream)
