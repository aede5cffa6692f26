"""A worker on a terminal: a table of its runs that is redrawn in its place, and above it the runs that have ended.

A thread draws, since a terminal that is stopped by Ctrl-S must not stop the worker. It draws after a change, at most
five times a second. While there are runs, it also draws once a second, for the clock and the last lines of their logs.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import attrs
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from taskrunner.blocking import run_blocking
from taskrunner.cli.display.footer import Footer
from taskrunner.cli.display.line_writer import MOST_LINES
from taskrunner.cli.display.live_table import draw
from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.text import COLOURS, announcement, duration, message_lines, worker_event
from taskrunner.cli.display.view import View
from taskrunner.cli.display.worker_status import RunRow, WorkerStatus
from taskrunner.machines.chart import Move
from taskrunner.machines.task import TaskEvent
from taskrunner.machines.worker import WorkerEvent, WorkerState
from taskrunner.model import Progress, Resolution
from taskrunner.runs.observer import RunView, WorkerView
from taskrunner.state.run_folder import RunFolder

AT_MOST = 0.2
"""Seconds between two drawings."""


class LiveWorker(View):
    """The live table, on stderr."""

    tick = 1.0
    """Seconds between two drawings without a change."""

    def __init__(self, home: Path) -> None:
        self.status = WorkerStatus()
        self._home = home
        self._above: deque[object] = deque(maxlen=MOST_LINES)
        self._changed = threading.Condition()
        self._dirty, self._closing = False, False
        self._painter = threading.Thread(target=self._paint, name="painter", daemon=True)

    # ---- changes, from any thread ------------------------------------------------------------------

    def opened(self, worker: WorkerView) -> None:
        self.status.queue, self.status.capacity = worker.queue, worker.capacity
        self.update(line("worker", announcement(worker)))
        self.start()

    def start(self) -> None:
        """Starts the thread that draws."""
        self._painter.start()

    def worker_moved(self, move: Move, why: str) -> None:
        with self._changed:
            self._apply(move, why)
            text = worker_event(move, why) + (f": {self.status.summary()}" if move.target == "stopped" else "")
            self.update(*([line("worker", text)] if text else []))

    def _apply(self, move: Move, why: str) -> None:
        status = self.status
        status.state = move.target
        if move.event in {WorkerEvent.SHUTDOWN, WorkerEvent.SHUTDOWN_NOW}:
            status.stop_reason = status.stop_reason or why
            status.hands_back = status.hands_back or move.event == WorkerEvent.SHUTDOWN_NOW
        else:
            status.pause = why if move.target == WorkerState.PAUSED else ""

    def started(self, run: RunView) -> None:
        name = str(run.claim.run)
        with self._changed:
            self.status.rows[name] = RunRow(name, run.slot, RunFolder(self._home, run.claim.run).log)
            self.update()

    def moved(self, run: RunView, move: Move) -> None:
        row = self.status.rows.get(str(run.claim.run))
        if row and move.event == TaskEvent.VACATED:
            row.vacated = True
            self.update()
        if row and move.moved:
            row.state, row.name, row.progress = move.target, run.name, None
            self.update()

    def progress(self, run: RunView, progress: Progress) -> None:
        if row := self.status.rows.get(str(run.claim.run)):
            row.progress = progress
            self.update()

    def ended(self, run: RunView, resolution: Resolution) -> None:
        with self._changed:
            row = self.status.rows.pop(str(run.claim.run))
            self.status.ended[resolution.kind] += 1
            self.update(*self.end_of(row, resolution))

    def warn(self, text: str) -> None:
        self.update(*(line("warning", each, "yellow") for each in text.splitlines()))

    async def closed(self) -> None:
        with self._changed:
            self._closing = True
            self.update()
        if self._painter.is_alive():
            await run_blocking(self._painter.join, limit=math.inf, doing="drawing the last lines")

    def end_of(self, row: RunRow, resolution: Resolution) -> Iterable[object]:
        """The lines about the end of a run, which stay above the table."""
        yield line(row.run, f"{resolution} after {duration(row.took)}  {row.name}", COLOURS[resolution.kind])
        for each in message_lines(resolution):
            yield Padding(Text(each), (0, 0, 0, len("00:00:00 ")))

    def update(self, *lines: object) -> None:
        """Redraws soon, with these lines above the table."""
        with self._changed:
            self._above += lines
            self._dirty = True
            self._changed.notify()

    # ---- drawing, in a thread ---------------------------------------------------------------------------

    def footer(self, status: WorkerStatus, width: int) -> RenderableType:
        """What is redrawn in its place."""
        return draw(status, width)

    def lines_above(self, status: WorkerStatus, above: Iterable[object]) -> Iterable[object]:  # noqa: ARG002  for subclasses
        """The lines that stay above the footer from now on."""
        return above

    def _paint(self) -> None:
        footer = Footer(Console(stderr=True, highlight=False, markup=False))
        try:
            while not self._closing:
                self._paint_once(footer)
                self._wait()
            self._paint_once(footer)
            footer.draw((), Group())
        except OSError:
            return  # the terminal has gone; the worker has not

    def _paint_once(self, footer: Footer) -> None:
        with self._changed:
            above, self._dirty = list(self._above), False
            self._above.clear()
            status = attrs.evolve(self.status, rows=dict(self.status.rows))
        footer.draw(self.lines_above(status, above), self.footer(status, footer.console.width))

    def _wait(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._dirty or self._closing, self.tick if self.status.rows else None)
        if not self._closing:
            time.sleep(AT_MOST)


def line(subject: str, said: str, style: str = "") -> Text:
    """One line above the table, in the form of the plain lines."""
    text = Text()
    text.append(f"{datetime.now().astimezone():%H:%M:%S} ", "bright_black")
    text.append(f"{subject}  ", "bold")
    return text.append(printable(said).rstrip(), style)
