"""What a worker does, a line at a time: as text for people and log files, and as JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import attrs
import click

from taskrunner.cli.display.line_writer import LineWriter
from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.text import (
    amount,
    announcement,
    duration,
    message_lines,
    resolution_line,
    run_state,
    worker_event,
)
from taskrunner.cli.display.view import View
from taskrunner.machines.chart import Move
from taskrunner.model import Progress, Resolution
from taskrunner.runs.observer import RunView, WorkerView

STEP_EVERY = 5.0
"""Seconds between two lines about the same step of a run; a shorter step has none."""

JSON_EVERY = 0.5
"""Seconds between two objects about the same step of a run; its end always has one."""


class Throttle:
    """Limits how often a step of a run is reported."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._last: dict[tuple[str, str], float] = {}

    def due(self, run: RunView, progress: Progress, *, at_once: bool = False) -> bool:
        """Whether this progress is to be reported; with `at_once`, also the first of a step."""
        key, now = (str(run.claim.run), progress.step), time.monotonic()
        last = self._last.setdefault(key, float("-inf") if at_once else now)
        if now - last < self._every:
            return False
        self._last[key] = now
        return True

    def forget(self, run: RunView) -> None:
        for key in [key for key in list(self._last) if key[0] == str(run.claim.run)]:
            del self._last[key]


class Lines(View):
    """Plain lines on stderr, so that stdout is free for the task."""

    def __init__(self) -> None:
        self._out = LineWriter(sys.stderr)
        self._began: dict[str, float] = {}
        self._throttle = Throttle(STEP_EVERY)

    def opened(self, worker: WorkerView) -> None:
        self._line("worker", announcement(worker))

    async def closed(self) -> None:
        await self._out.close()

    def worker_moved(self, move: Move, why: str) -> None:
        if text := worker_event(move, why):
            self._line("worker", text)

    def started(self, run: RunView) -> None:
        self._began[str(run.claim.run)] = time.monotonic()
        self._line(str(run.claim.run), "claimed")

    def moved(self, run: RunView, move: Move) -> None:
        if move.moved and move.target != "resolved":
            name = f"  {printable(run.name)}" if move.target == "loading" and run.name else ""
            self._line(str(run.claim.run), run_state(move) + name)

    def progress(self, run: RunView, progress: Progress) -> None:
        if self._throttle.due(run, progress):
            note = f"  {printable(progress.note)}" if progress.note else ""
            self._line(str(run.claim.run), f"{progress.step} {amount(progress)}{note}")

    def ended(self, run: RunView, resolution: Resolution) -> None:
        name = str(run.claim.run)
        self._throttle.forget(run)
        took = duration(time.monotonic() - self._began.pop(name, time.monotonic()))
        self._line(name, f"{resolution_line(resolution)} after {took}")
        for line in self._reasons(resolution):
            self._line(name, f"  {line}")

    def _reasons(self, resolution: Resolution) -> Iterable[str]:
        """What follows the line about the end of a run."""
        return message_lines(resolution)

    def warn(self, text: str) -> None:
        for line in printable(text).splitlines():
            self._line(click.style("warning", fg="yellow"), line)

    def _line(self, subject: str, text: str) -> None:
        self._out.write(f"{time.strftime('%H:%M:%S')} {subject}  {text}")


class JsonLines(View):
    """One JSON object a line on stdout: `{at, kind, ...}`, where `kind` is `worker`, `started`, `moved`, `progress`,
    `ended` or `warning`."""

    def __init__(self) -> None:
        self._out = LineWriter(sys.stdout)
        self._throttle = Throttle(JSON_EVERY)

    def opened(self, worker: WorkerView) -> None:
        self._write("worker", state="booting", event="opened", **attrs.asdict(worker))

    async def closed(self) -> None:
        await self._out.close()

    def worker_moved(self, move: Move, why: str) -> None:
        self._write("worker", state=move.target, event=move.event, why=why)

    def started(self, run: RunView) -> None:
        self._write("started", **_named(run))

    def moved(self, run: RunView, move: Move) -> None:
        self._write("moved", **_named(run), state=move.target, event=move.event)

    def progress(self, run: RunView, progress: Progress) -> None:
        if self._throttle.due(run, progress, at_once=True) or progress.done == progress.total:
            self._write("progress", **_named(run), **attrs.asdict(progress))

    def ended(self, run: RunView, resolution: Resolution) -> None:
        self._throttle.forget(run)
        ending = attrs.asdict(resolution)
        self._write("ended", **_named(run), resolution=ending.pop("kind"), **ending)

    def warn(self, text: str) -> None:
        self._write("warning", text=text)

    def _write(self, kind: str, **data: Any) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._out.write(json.dumps({"at": at, "kind": kind, **data}))


def _named(run: RunView) -> dict[str, Any]:
    return {"task_id": run.claim.task_id, "run_id": run.claim.run_id, "slot": run.slot, "name": run.name}
