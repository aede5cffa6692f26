"""The live table: how the status of a worker is drawn."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.text import COLOURS, amount, duration
from taskrunner.cli.display.worker_status import RunRow, WorkerStatus
from taskrunner.model import Progress

STATES = {"claimed": "cyan", "loading": "blue", "running": "green", "uploading": "yellow", "cleanup": "bright_black"}
"""The colours of a run's states."""

WIDE = 70
"""Columns of a terminal on which a row has room for everything."""

NARROW = 50
"""Columns below which there is no room for a progress bar."""

BAR_WIDTH = 20
"""Columns of a progress bar: fine enough for five percent."""


def draw(status: WorkerStatus, width: int) -> RenderableType:
    """A line about the worker, a notice if there is one, and a row for each run."""
    parts: list[RenderableType] = [_head(status, width)]
    if notice := status.notice():
        parts.append(Text(printable(notice), "yellow", no_wrap=True, overflow="ellipsis"))
    if status.rows:
        parts.append(_table(status, width))
    return Group(*parts)


def _head(status: WorkerStatus, width: int) -> Text:
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(status.state.replace("_", " "), "bold")
    head.append(f"  {status.busy} of {status.capacity} slot{'s' * (status.capacity > 1)}")
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


def _task(row: RunRow, width: int) -> Text:
    text = Text(row.run)
    if row.name and width >= WIDE:
        text.append(f"  {printable(row.name)}", "bright_black")
    return text


def activity(row: RunRow, width: int) -> RenderableType:
    """What a run does: its progress if it reports any, else the last line of its log."""
    progress = row.progress
    if progress is None:
        return Text(row.newest(), no_wrap=True, overflow="ellipsis")
    return bar(progress, width)


def bar(progress: Progress, width: int) -> RenderableType:
    """A step and its amount, with a progress bar on a terminal that is wide enough."""
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
