"""WorkerStatus: what the live table shows of a worker, and how it is drawn."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import attrs
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from taskrunner.cli.display.view import amount, duration
from taskrunner.cli.options import COLOURS, printable
from taskrunner.log.reader import last_line
from taskrunner.model import Progress

STATES = {"claimed": "cyan", "loading": "blue", "running": "green", "uploading": "yellow", "cleanup": "bright_black"}
"""The colours of a run's states."""

WIDE = 70
"""Columns from which on a row has room for everything."""

NARROW = 50
"""Columns below which words are better than bars."""

BAR_WIDTH = 20
"""Columns of a progress bar: fine enough for five percent."""


@attrs.define
class Row:
    """One run that is going on."""

    run: str
    slot: int
    log: Path
    name: str = ""
    state: str = "claimed"
    progress: Progress | None = None
    began: float = attrs.field(factory=time.monotonic)

    @property
    def took(self) -> float:
        return time.monotonic() - self.began

    def newest(self) -> str:
        """The last line of its log; when that overflows, of the newest part beside it."""
        parts = sorted(self.log.parent.glob(f"{self.log.name}.tail-*"), key=lambda part: int(part.name.split("-")[-1]))
        return next(filter(None, map(last_line, [*reversed(parts), self.log])), "")


@attrs.define
class WorkerStatus:
    """Everything that is seen of a worker at one moment."""

    queue: str = ""
    capacity: int = 1
    state: str = "booting"
    pause: str = ""
    told: int = 0
    """How often it was told to stop."""
    why: str = ""
    rows: dict[str, Row] = attrs.field(factory=dict)
    ended: Counter[str] = attrs.field(factory=Counter)

    def notice(self) -> str:
        """What whoever sits at the terminal should know now."""
        runs = f"{len(self.rows)} run{'s' * (len(self.rows) != 1)}"
        if self.told > 1:
            return f"handing back {runs}; Ctrl-C again kills this worker"
        if self.told:
            return f"{self.why}: finishing {runs}; Ctrl-C again hands {'it' if len(self.rows) == 1 else 'them'} back"
        return f"paused: {self.pause}" if self.pause else ""

    def summary(self) -> str:
        """How the runs ended that it has seen."""
        return ", ".join(f"{self.ended[kind]} {kind}" for kind in COLOURS)


def draw(status: WorkerStatus, width: int) -> RenderableType:
    """The whole of it: a line about the worker, a notice if there is one, and a row for each run."""
    parts: list[RenderableType] = [_head(status, width)]
    if notice := status.notice():
        parts.append(Text(printable(notice), "yellow", no_wrap=True, overflow="ellipsis"))
    if status.rows:
        parts.append(_table(status, width))
    return Group(*parts)


def _head(status: WorkerStatus, width: int) -> Text:
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(status.state.replace("_", " "), "bold")
    head.append(f"  {len(status.rows)} of {status.capacity} slot{'s' * (status.capacity > 1)}")
    for kind in ("completed", "failed", "exception"):
        if (number := status.ended[kind]) or width >= WIDE:
            head.append(f"  {number} {kind}", COLOURS[kind] if number else "bright_black")
    if width >= WIDE:
        head.append(f"  {status.queue}", "bright_black")
    return head


def _table(status: WorkerStatus, width: int) -> Table:
    table = Table(box=None, expand=True, padding=(0, 2, 0, 0), show_header=width >= WIDE, header_style="bright_black")
    if width >= WIDE:
        table.add_column("slot", justify="right", no_wrap=True)
    table.add_column("task", no_wrap=True, overflow="ellipsis", max_width=width // 3)
    table.add_column("state", no_wrap=True)
    table.add_column("elapsed", justify="right", no_wrap=True)
    table.add_column("last line", ratio=1, no_wrap=True, overflow="ellipsis")
    for row in sorted(status.rows.values(), key=lambda row: row.slot):
        slot = [str(row.slot)] if width >= WIDE else []
        state = Text(row.state, STATES.get(row.state, ""))
        table.add_row(*slot, _task(row, width), state, duration(row.took), activity(row, width))
    return table


def _task(row: Row, width: int) -> Text:
    text = Text(row.run)
    if row.name and width >= WIDE:
        text.append(f"  {printable(row.name)}", "bright_black")
    return text


def activity(row: Row, width: int) -> RenderableType:
    """What a run does at the moment: a bar when it says how far it is, else the last line of its log."""
    progress = row.progress
    if progress is None:
        return Text(row.newest(), no_wrap=True, overflow="ellipsis")
    return bar(progress, width)


def bar(progress: Progress, width: int) -> RenderableType:
    """How far what is, and before it a progress bar, on a terminal that is wide enough for both."""
    words = Text(f"{progress.step} {amount(progress)}", no_wrap=True, overflow="ellipsis")
    words.append(f"  {printable(progress.note)}" if progress.note else "", "bright_black")
    if width < NARROW:
        return words
    columns = BAR_WIDTH if width >= WIDE else BAR_WIDTH // 2
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    grid.add_column(width=columns)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    total = progress.total or None
    grid.add_row(ProgressBar(total=total, completed=progress.done, width=columns, pulse=total is None), words)
    return grid
