"""One task, a line at a time on stderr, with its log on stdout."""

from __future__ import annotations

import asyncio
import math
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.cli.display.line_writer import SETTLE
from taskrunner.cli.display.lines import Lines
from taskrunner.cli.display.stdout import same_file, write_or_discard
from taskrunner.config.environment import home
from taskrunner.log.reader import follow
from taskrunner.machines.chart import Move
from taskrunner.model import Resolution
from taskrunner.runs.observer import RunView, WorkerView
from taskrunner.state.run_folder import RunFolder


class TaskLines(Lines):
    """Lines on stderr, and the log of each run on stdout as it is written.

    A line about an event is written after the part of the log that is older than the event, so that both streams are
    in order on one terminal.
    """

    def __init__(self) -> None:
        super().__init__()
        self._copying: dict[str, asyncio.Task[None]] = {}
        self._resolutions: dict[str, Resolution] = {}
        self._copied: dict[str, int] = {}
        """Bytes of each run's log that are on stdout."""
        self._waiting: dict[str, deque[tuple[int, RunView, Move]]] = {}
        """Moves that wait, each with the number of bytes of the log that come before it."""

    def opened(self, worker: WorkerView) -> None:
        """The log begins with the same line."""

    def worker_moved(self, move: Move, why: str) -> None:
        if not why.endswith(" is resolved"):
            super().worker_moved(move, why)

    def started(self, run: RunView) -> None:
        super().started(run)
        self._copying[str(run.claim.run)] = asyncio.create_task(self._copy(run))

    def moved(self, run: RunView, move: Move) -> None:
        name, log = str(run.claim.run), _log(run)
        size = log.stat().st_size if log.exists() else 0
        if size > self._copied.get(name, 0):
            self._waiting.setdefault(name, deque()).append((size, run, move))
        else:
            super().moved(run, move)

    def ended(self, run: RunView, resolution: Resolution) -> None:
        self._resolutions[str(run.claim.run)] = resolution

    def _reasons(self, resolution: Resolution) -> Iterable[str]:
        """The log ends with them, and whoever reads both streams as one needs them once."""
        return () if same_file(sys.stdout, sys.stderr) else super()._reasons(resolution)

    async def closed(self) -> None:
        for name in self._copying.keys() - self._resolutions.keys():
            self._copying[name].cancel()  # the worker is broken, and the log gets no more bytes
        for error in await asyncio.gather(*self._copying.values(), return_exceptions=True):
            if isinstance(error, Exception):
                self.warn(f"the log is not shown any further: {error}")
        await super().closed()

    async def _copy(self, run: RunView) -> None:
        name = str(run.claim.run)
        async for piece in follow(_log(run), ended=lambda: name in self._resolutions):
            rest = piece
            while rest:
                part = rest[: self._until_next(name)]
                await run_blocking(
                    partial(write_or_discard, sys.stdout, part), limit=math.inf, doing="writing to stdout"
                )
                self._copied[name] = self._copied.get(name, 0) + len(part)
                if self._write_due(name):
                    await self._settle()
                rest = rest[len(part) :]
        super().ended(run, self._resolutions[name])

    async def _settle(self) -> None:
        with suppress(OverLimit):
            await run_blocking(self._out.settle, limit=2 * SETTLE, doing="writing to stderr")

    def _until_next(self, name: str) -> int | None:
        """Bytes of the log before the next line that waits; None when no line waits."""
        waiting = self._waiting.get(name)
        return waiting[0][0] - self._copied.get(name, 0) if waiting else None

    def _write_due(self, name: str) -> bool:
        """Writes the lines whose part of the log is on stdout. Returns whether there were any."""
        waiting = self._waiting.get(name, deque())
        before = len(waiting)
        while waiting and waiting[0][0] <= self._copied[name]:
            _, run, move = waiting.popleft()
            super().moved(run, move)
        return len(waiting) < before


def _log(run: RunView) -> Path:
    return RunFolder(home(), run.claim.run).log
