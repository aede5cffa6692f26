"""LineWriter: writes lines to a stream that must never block the worker.

A reader who pauses `taskrunner run | less`, or presses Ctrl-S, blocks the writer. In the event loop that would stop the
renewal of every claim, so a thread writes the lines. It writes all waiting lines together, and not more often than a
person can read: each time it wakes up, the event loop has to wait for it.
"""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TextIO

import click

from taskrunner.cli.display.stdout import discard_output

MOST_LINES = 10_000
"""Lines that wait for a reader who has paused; later ones are left out."""

PAUSE = 0.02
"""Seconds between two writes: a screen does not show more than about fifty a second."""

SETTLE = 1.0
"""Seconds that `settle` waits for a reader who has paused."""


class LineWriter:
    """One stream. When its reader has gone, lines are discarded without an error."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
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

    def close(self) -> None:
        """Blocks until all lines are written, however long the reader takes: the worker has ended."""
        self._lines.put(None)
        self._thread.join()

    def _write_all(self) -> None:
        while lines := self._waiting():
            text = "\n".join(line for line in lines if isinstance(line, str))
            if text and self._stream:  # a process may be started without one
                self._write(self._stream, text)
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

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            click.echo(text, file=stream)
        except (OSError, ValueError):
            discard_output(stream)
