"""What a worker does, on a terminal: a table that is redrawn in its place, and above it what has come to its end.

A thread of its own draws, since a terminal that is stopped by Ctrl-S must not stop the worker. It draws when something
has changed, at most five times a second; once a second while there are runs, for the clock and the last lines of their
logs; and not at all while there is nothing to do.
"""

from __future__ import annotations

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

from taskrunner.cli.display.footer import Footer
from taskrunner.cli.display.line_writer import MOST_LINES
from taskrunner.cli.display.live_table import Row, WorkerStatus, draw
from taskrunner.cli.display.view import View, details, duration, news
from taskrunner.cli.options import COLOURS, printable
from taskrunner.machines.chart import Move
from taskrunner.machines.worker import WorkerEvent
from taskrunner.model import Progress, Resolution
from taskrunner.state.journal import RunFolder
from taskrunner.worker.observer import RunView

AT_MOST = 0.2
"""Seconds between two drawings."""


class LiveWorker(View):
    """The live table, on stderr."""

    tick = 1.0
    """Seconds between two drawings when nothing has changed but the time."""

    def __init__(self, home: Path) -> None:
        self.status = WorkerStatus()
        self._home = home
        self._above: deque[object] = deque(maxlen=MOST_LINES)
        self._changed = threading.Condition()
        self._dirty, self._over = False, False
        self._painter = threading.Thread(target=self._paint, name="painter", daemon=True)

    # ---- what is seen, from any thread ------------------------------------------------------------------

    def opened(self, worker_id: str, queue: str, capacity: int) -> None:
        self.status.queue, self.status.capacity = queue, capacity
        self.tell(line("worker", f"{worker_id} with {capacity} slot{'s' * (capacity > 1)}, tasks from {queue}"))
        self.start()

    def start(self) -> None:
        """Begins to draw."""
        self._painter.start()

    def worker_moved(self, move: Move, why: str) -> None:
        with self._changed:
            self._note(move, why)
            text = news(move, why) + (f": {self.status.summary()}" if move.target == "stopped" else "")
            self.tell(*([line("worker", text)] if text else []))

    def _note(self, move: Move, why: str) -> None:
        status = self.status
        status.state = move.target
        if move.event in {WorkerEvent.SHUTDOWN, WorkerEvent.SHUTDOWN_NOW}:
            status.told, status.why = status.told + 1, why
        elif move.event in {WorkerEvent.PAUSE, WorkerEvent.RESUME}:
            status.pause = why if move.event == WorkerEvent.PAUSE else ""

    def started(self, run: RunView) -> None:
        name = str(run.claim.run)
        with self._changed:
            self.status.rows[name] = Row(name, run.slot, RunFolder(self._home, run.claim.run).log)
            self.tell()

    def moved(self, run: RunView, move: Move) -> None:
        row = self.status.rows.get(str(run.claim.run))
        if row and move.moved:
            row.state, row.name, row.progress = move.target, run.name, None
            self.tell()

    def progress(self, run: RunView, progress: Progress) -> None:
        if row := self.status.rows.get(str(run.claim.run)):
            row.progress = progress
            self.tell()

    def ended(self, run: RunView, resolution: Resolution) -> None:
        with self._changed:
            row = self.status.rows.pop(str(run.claim.run))
            self.status.ended[resolution.kind] += 1
            self.tell(*self.end_of(row, resolution))

    def warn(self, text: str) -> None:
        self.tell(*(line("warning", each, "yellow") for each in text.splitlines()))

    async def closed(self) -> None:
        with self._changed:
            self._over = True
            self.tell()
        if self._painter.is_alive():
            self._painter.join()

    def end_of(self, row: Row, resolution: Resolution) -> Iterable[object]:
        """What is left of a run above the table."""
        yield line(row.run, f"{resolution} after {duration(row.took)}  {row.name}", COLOURS[resolution.kind])
        for each in details(resolution):
            yield Padding(Text(each), (0, 0, 0, len("00:00:00 ")))

    def tell(self, *lines: object) -> None:
        """Something has changed, and these lines are to stand above the table."""
        with self._changed:
            self._above += lines
            self._dirty = True
            self._changed.notify()

    # ---- drawing, in a thread ---------------------------------------------------------------------------

    def picture(self, status: WorkerStatus, width: int) -> RenderableType:
        """What is redrawn in its place."""
        return draw(status, width)

    def shown(self, status: WorkerStatus, above: Iterable[object]) -> Iterable[object]:  # noqa: ARG002  for who shows more
        """What is to stand above the picture from now on."""
        return above

    def _paint(self) -> None:
        footer = Footer(Console(stderr=True, highlight=False, markup=False))
        try:
            while not self._over:
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
        footer.draw(self.shown(status, above), self.picture(status, footer.console.width))

    def _wait(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._dirty or self._over, self.tick if self.status.rows else None)
        if not self._over:
            time.sleep(AT_MOST)


def line(who: str, what: str, style: str = "") -> Text:
    """One line above the table, as the plain ones are."""
    text = Text()
    text.append(f"{datetime.now().astimezone():%H:%M:%S} ", "bright_black")
    text.append(f"{who}  ", "bold")
    return text.append(printable(what).rstrip(), style)
