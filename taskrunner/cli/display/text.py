"""The words in which runs and workers are described, on every display."""

from __future__ import annotations

from collections.abc import Mapping

import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.machines.chart import Move
from taskrunner.machines.task import TaskEvent
from taskrunner.machines.worker import WorkerEvent, WorkerState
from taskrunner.model import Progress, Resolution
from taskrunner.runs.observer import WorkerView

COLOURS = {"completed": "green", "failed": "red", "exception": "magenta"}

USUAL = {TaskEvent.BEGIN, TaskEvent.LOADED, TaskEvent.EXITED, TaskEvent.UPLOADED, TaskEvent.FAILED}
"""Events that lead from state to state when a run is left alone, and need no mention."""

_PAUSES = {WorkerEvent.UNFIT, WorkerEvent.FIT, WorkerEvent.PAUSE, WorkerEvent.RESUME}

_WORKER_EVENTS: Mapping[str, str] = {
    WorkerEvent.SHUTDOWN: "stops: {}",
    WorkerEvent.SHUTDOWN_NOW: "stops: {}",
    WorkerEvent.FATAL: "is broken: {}",
}

MINUTE, HOUR = 60, 3600


def worker_event(move: Move, why: str) -> str:
    """What a worker's event means to its operator; empty when it is nothing new."""
    if move.event == WorkerEvent.SHUTDOWN_NOW and not move.moved:
        return "stops at once: hands back what runs"
    if move.event == WorkerEvent.SHUTDOWN and not move.moved:
        return ""
    if move.event == WorkerEvent.DRAINED and move.moved:
        return "stopped"
    if move.event in _PAUSES:
        return _pause_event(move, why)
    return _WORKER_EVENTS.get(move.event, "").format(printable(why))


def _pause_event(move: Move, why: str) -> str:
    if move.target == WorkerState.PAUSED:
        return f"takes no runs for now: {printable(why)}"
    return "takes runs again" if move.source == WorkerState.PAUSED else ""


def run_state(move: Move) -> str:
    """A run's new state, and the event that led to it if that is out of the ordinary."""
    return move.target if move.event in USUAL else f"{move.target} ({move.event.replace('_', ' ')})"


def resolution_line(resolution: Resolution | None) -> str:
    """A resolution in one line, coloured on a terminal; empty for None."""
    if resolution is None:
        return ""
    return click.style(printable(str(resolution)), fg=COLOURS[resolution.kind])


def message_lines(resolution: Resolution) -> list[str]:
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
        return byte_size(progress.done) if progress.unit == "B" else f"{progress.done:g} {progress.unit}".strip()
    if progress.unit == "B":
        return f"{100 * progress.done / progress.total:.0f} %"
    return f"{progress.done:g} of {progress.total:g} {progress.unit}".strip()


def byte_size(count: float) -> str:
    """Bytes in decimal units, as disks and networks are sold."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:  # noqa: PLR2004  a thousand is what the units are made of
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def announcement(worker: WorkerView) -> str:
    """The line that begins the output of a worker."""
    slots = f"{worker.capacity} slot{'s' * (worker.capacity > 1)}"
    labels = ", ".join(f"{label} {value}" for label, value in worker.identity.items())
    where = f" ({labels})" if labels else ""
    return printable(f"{worker.worker_id} with {slots}, tasks from {worker.queue or 'the program'}{where}")
