"""View: an observer that shows a worker to somebody, and the words that all views have in common."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from taskrunner.cli.options import printable
from taskrunner.machines.chart import Move
from taskrunner.machines.task import TaskEvent
from taskrunner.machines.worker import WorkerEvent
from taskrunner.model import Progress, Resolution
from taskrunner.worker.observer import Observer

USUAL = {TaskEvent.BEGIN, TaskEvent.LOADED, TaskEvent.EXITED, TaskEvent.UPLOADED, TaskEvent.FAILED}
"""Events that lead from state to state when nobody interferes, and need no mention."""

_NEWS: Mapping[str, str] = {
    WorkerEvent.PAUSE: "takes no runs for now: {}",
    WorkerEvent.RESUME: "takes runs again",
    WorkerEvent.SHUTDOWN: "stops: {}",
    WorkerEvent.SHUTDOWN_NOW: "stops: {}",
    WorkerEvent.FATAL: "is broken: {}",
}

MINUTE, HOUR = 60, 3600


class View(Observer):
    """What `run` shows a worker with."""

    def opened(self, worker_id: str, queue: str, capacity: int) -> None:
        """The worker is about to start. `queue` is a URL without passwords."""

    async def closed(self) -> None:
        """The worker has stopped; returns when everything about it has been shown."""


class Logged(logging.Handler):
    """What libraries log, as warnings of a view."""

    def __init__(self, view: View) -> None:
        super().__init__(logging.WARNING)
        self._view = view

    def emit(self, record: logging.LogRecord) -> None:
        self._view.warn(self.format(record))


def news(move: Move, why: str) -> str:
    """What a worker's event means to whoever runs it; empty when it is nothing new."""
    if move.event == WorkerEvent.SHUTDOWN and not move.moved:
        return "was told to stop again: hands back what runs"
    if move.event == WorkerEvent.DRAINED and move.moved:
        return "stopped"
    return _NEWS.get(move.event, "").format(printable(why))


def step(move: Move) -> str:
    """A run's new state, and what led there if that is out of the ordinary."""
    return move.target if move.event in USUAL else f"{move.target} ({move.event.replace('_', ' ')})"


def details(resolution: Resolution) -> list[str]:
    """The lines that say why a run ended as it did."""
    return printable(resolution.message).splitlines()


def duration(seconds: float) -> str:
    """As short as it is useful: `4.2 s`, `1:02 min`, `3:04:05 h`."""
    whole = int(seconds)
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(whole, MINUTE)
    return f"{minutes}:{rest:02} min" if whole < HOUR else f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"


def amount(progress: Progress) -> str:
    """How far a step is: `3 of 7 steps`, `40 %`, `12.3 MB`."""
    if not progress.total:
        return size(progress.done) if progress.unit == "B" else f"{progress.done:g} {progress.unit}".strip()
    if progress.unit == "B":
        return f"{100 * progress.done / progress.total:.0f} %"
    return f"{progress.done:g} of {progress.total:g} {progress.unit}".strip()


def size(count: float) -> str:
    """Bytes in decimal units, as disks and networks are sold."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:  # noqa: PLR2004  a thousand is what the units are made of
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
