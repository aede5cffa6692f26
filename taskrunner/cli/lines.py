"""What a worker does, a line at a time: for people behind a pipe, for log files, and as JSON for programs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import click

from taskrunner.cli.common import told
from taskrunner.machines.chart import Move
from taskrunner.model import Progress, Resolution
from taskrunner.observer import Observer, Sight

PROGRESS_EVERY = 10.0
"""Percent between two lines about the same step: enough to see that it moves, and at most ten lines a step."""


class Lines(Observer):
    """Plain lines on stderr, so that stdout stays the task's."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self._write = write or (lambda line: click.echo(line, err=True))
        self._lock = threading.Lock()
        self._shown: dict[tuple[str, str], float] = {}

    def worker_moved(self, move: Move, why: str) -> None:
        if move.moved or (move.event == "shutdown" and why):
            self._line("worker", move.target.replace("_", " ") + (f": {why}" if why else ""))

    def started(self, run: Sight) -> None:
        self._line(str(run.claim.run), "claimed")

    def moved(self, run: Sight, move: Move) -> None:
        if move.moved and move.target != "resolved":
            self._line(str(run.claim.run), move.target)

    def progress(self, run: Sight, progress: Progress) -> None:
        if not progress.total:
            return
        percent = 100 * progress.done / progress.total
        key = (str(run.claim.run), progress.step)
        if percent < 100 and percent - self._shown.get(key, 0.0) < PROGRESS_EVERY:  # noqa: PLR2004  all of it
            return
        if percent > self._shown.get(key, 0.0):
            self._shown[key] = percent
            self._line(key[0], f"{progress.step} {percent:.0f} %" + (f"  {progress.note}" if progress.note else ""))

    def ended(self, run: Sight, resolution: Resolution) -> None:
        name = str(run.claim.run)
        self._shown = {key: value for key, value in self._shown.items() if key[0] != name}
        self._line(name, told(resolution))
        for line in resolution.message.splitlines():
            self._line(name, f"  {line}")

    def warn(self, text: str) -> None:
        self._line("warning", text)

    def _line(self, who: str, what: str) -> None:
        with self._lock:
            self._write(f"{datetime.now().astimezone():%H:%M:%S} {who}  {what}")


class JsonLines(Observer):
    """One JSON object a line on stdout: `{at, kind, ...}`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def worker_moved(self, move: Move, why: str) -> None:
        self._say("worker", state=move.target, event=move.event, why=why)

    def started(self, run: Sight) -> None:
        self._say("started", **_named(run))

    def moved(self, run: Sight, move: Move) -> None:
        self._say("moved", **_named(run), state=move.target, event=move.event)

    def progress(self, run: Sight, progress: Progress) -> None:
        self._say("progress", **_named(run), **attrs.asdict(progress))

    def ended(self, run: Sight, resolution: Resolution) -> None:
        ending = attrs.asdict(resolution)
        self._say("ended", **_named(run), resolution=ending.pop("kind"), **ending)

    def warn(self, text: str) -> None:
        self._say("warning", text=text)

    def _say(self, kind: str, **data: Any) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"at": at, "kind": kind, **data})
        with self._lock:
            click.echo(line)


def _named(run: Sight) -> dict[str, Any]:
    return {"task_id": run.claim.task_id, "run_id": run.claim.run_id, "slot": run.slot, "name": run.name}
