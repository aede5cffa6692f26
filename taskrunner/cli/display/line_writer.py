"""LineWriter: writes lines to a stream that must never block the worker.

A reader who pauses `taskrunner run | less`, or presses Ctrl-S, blocks the writer. In the event loop that would stop the
renewal of every claim, so a thread writes the lines. It writes all waiting lines together, and not more often than a
person can read: each time it wakes up, the event loop has to wait for it.
"""

from __future__ import annotations

import math
import threading
import time
from queue import Empty, SimpleQueue
from typing import TextIO

import click

from taskrunner.blocking import run_blocking
from taskrunner.cli.display.stdout import write_or_discard

MOST_LINES = 10_000
"""Lines that wait for a reader who has paused; later ones are left out."""

PAUSE = 0.02
"""Seconds between two writes: a screen does not show more than about fifty a second."""

SETTLE = 1.0
"""Seconds that `settle` waits for a reader who has paused."""


class LineWriter:
    """One stream. When its reader has gone, lines are discarded without an error."""

    def __init__(self, stream: TextIO | None) -> None:
        """`stream` is None when the process was started without it."""
        self._stream = stream
        self._coloured = bool(stream and stream.isatty())
        self._encoding = stream.encoding if stream else "utf-8"
        self._lines: SimpleQueue[str | threading.Event | None] = SimpleQueue()
        self._left_out = 0
        self._thread = threading.Thread(target=self._write_all, name="line writer", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """May be called from any thread; returns at once."""
        if self._lines.qsize() >= MOST_LINES:
            self._left_out += 1
            return
        if self._left_out:
            self._lines.put(f"# {self._left_out} lines were left out here: the reader was too slow")
            self._left_out = 0
        self._lines.put(line)

    def settle(self) -> None:
        """Blocks until the lines so far are written, at most SETTLE."""
        written = threading.Event()
        self._lines.put(written)
        written.wait(SETTLE)

    async def close(self) -> None:
        """Waits until all lines are written, however long the reader takes: the worker has ended."""
        self._lines.put(None)
        await run_blocking(self._thread.join, limit=math.inf, doing="writing the last lines")

    def _write_all(self) -> None:
        while lines := self._waiting():
            text = "\n".join(line for line in lines if isinstance(line, str))
            if text:
                write_or_discard(self._stream, self._encoded(text))
            for written in lines:
                if isinstance(written, threading.Event):
                    written.set()
            if lines[-1] is None:
                return
            time.sleep(PAUSE)

    def _waiting(self) -> list[str | threading.Event | None]:
        """All waiting lines, at least one; waits for it."""
        lines = [self._lines.get()]
        try:
            while lines[-1] is not None:
                lines.append(self._lines.get_nowait())
        except Empty:
            pass
        return lines

    def _encoded(self, text: str) -> bytes:
        """Without colours, unless a terminal reads them."""
        shown = text if self._coloured else click.unstyle(text)
        return f"{shown}\n".encode(self._encoding, "backslashreplace")
