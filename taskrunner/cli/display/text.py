"""The words in which runs and workers are described, on every display."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.machines.chart import Move
from taskrunner.machines.task import TaskEvent
from taskrunner.machines.worker import WorkerEvent
from taskrunner.model import Progress, Resolution

COLOURS = {"completed": "green", "failed": "red", "exception": "magenta"}

USUAL = {TaskEvent.BEGIN, TaskEvent.LOADED, TaskEvent.EXITED, TaskEvent.UPLOADED, TaskEvent.FAILED}
"""Events that lead from state to state when a run is left alone, and need no mention."""

_WORKER_EVENTS: Mapping[str, str] = {
    WorkerEvent.PAUSE: "takes no runs for now: {}",
    WorkerEvent.RESUME: "takes runs again",
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
    return _WORKER_EVENTS.get(move.event, "").format(printable(why))


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


def public_url(url: str) -> str:
    """A URL without the password or token that it may hold."""
    parts = urlsplit(url)
    if "@" not in parts.netloc and not parts.query:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"***@{host}" if user else host, query="").geturl()
