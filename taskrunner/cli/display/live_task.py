"""One task on a terminal: its log scrolls above a line about the run."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import attrs
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from taskrunner.cli.display.footer import Raw
from taskrunner.cli.display.live_table import STATES, bar
from taskrunner.cli.display.live_worker import AT_MOST, LiveWorker
from taskrunner.cli.display.sanitize import LineBuffer, printable, sanitize
from taskrunner.cli.display.stdout import write_or_discard
from taskrunner.cli.display.text import duration
from taskrunner.cli.display.worker_status import RunRow, WorkerStatus
from taskrunner.interfaces.results import READ_SIZE
from taskrunner.machines.chart import Move
from taskrunner.model import Resolution
from taskrunner.runs.observer import WorkerView

PIECES = 4
"""Pieces of a log (1 MiB) that are printed before the line below is redrawn."""


@attrs.define
class LogCopy:
    """Reads a log as it grows."""

    path: Path
    offset: int = 0
    lines: LineBuffer = attrs.field(factory=LineBuffer)

    def pieces(self) -> Iterator[bytes]:
        """The whole lines since the last call."""
        while piece := self._read():
            self.offset += len(piece)
            yield self.lines.feed(piece)

    def _read(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                return file.read(READ_SIZE)
        except FileNotFoundError:
            return b""


@attrs.frozen
class Rest:
    """A place among the lines above: the rest of a run's log is printed there."""

    row: RunRow


class LiveTask(LiveWorker):
    """The log on stdout, the line about the run on stderr."""

    tick = AT_MOST

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._copies: dict[str, LogCopy] = {}
        self._same_terminal = sys.stdout.isatty()

    def opened(self, worker: WorkerView) -> None:  # noqa: ARG002  the log begins with the same line
        self.start()

    def worker_moved(self, move: Move, why: str) -> None:
        if not why.endswith(" is resolved"):
            super().worker_moved(move, why)

    def end_of(self, row: RunRow, resolution: Resolution) -> Iterable[object]:
        """The log ends with the reason; when it is not on this terminal, the lines here have the reason too."""
        yield Rest(row)
        lines = super().end_of(row, resolution)
        yield from islice(lines, 1) if self._same_terminal else lines

    # ---- drawing, in a thread ---------------------------------------------------------------------------

    def footer(self, status: WorkerStatus, width: int) -> RenderableType:
        lines: list[RenderableType] = [_status(row, width) for row in status.rows.values()]
        if notice := status.notice():
            lines.append(Text(printable(notice), "yellow", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)

    def lines_above(self, status: WorkerStatus, above: Iterable[object]) -> Iterable[object]:
        for row in status.rows.values():
            copy = self._copies.setdefault(row.run, LogCopy(row.log))
            yield from self._lines(*islice(copy.pieces(), PIECES))
        for each in above:
            if isinstance(each, Rest):
                copy = self._copies.pop(each.row.run, LogCopy(each.row.log))
                yield from self._lines(*copy.pieces(), copy.lines.rest)
            else:
                yield each

    def _lines(self, *pieces: bytes) -> Iterator[Raw]:
        """The lines for this terminal. When stdout is not this terminal, they go to stdout instead."""
        for piece in filter(None, pieces):
            if self._same_terminal:
                yield Raw(sanitize(piece))
            else:
                write_or_discard(sys.stdout, piece)


def _status(row: RunRow, width: int) -> RenderableType:
    """The line about a run."""
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=width // 3)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    rest = bar(row.progress, width) if row.progress else Text(printable(row.name), "bright_black")
    grid.add_row(Text(row.run, "bold"), Text(row.state, STATES.get(row.state, "")), duration(row.took), rest)
    return grid
