"""The report of a worker as lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from taskrunner.amounts import amount_text
from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.text import amount, duration
from taskrunner.model import Progress


def status_lines(report: Mapping[str, Any]) -> list[str]:
    """The worker in the first line, then its place, then its runs. `report` is a `WorkerReport` as JSON values."""
    host = report["host"]
    place = ", ".join(printable(f"{key} {host[key]}") for key in sorted(host))
    started = f"{datetime.fromisoformat(report['started']).astimezone():%Y-%m-%d %H:%M:%S}"
    return [
        f"{report['worker_id']}  {_state(report)}",
        f"  {len(report['runs'])} of {report['capacity']} slots busy, {report['taken']} taken since {started}",
        f"  tasks from {printable(report['queue'])}",
        f"  process {report['pid']} on {place}",
        *_resources(report.get("resources") or {}),
        *_table([_run(run) for run in report["runs"]]),
    ]


def _resources(resources: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A line when anything is counted. The worker may be older than this program, and not tell."""
    each = [
        f"{printable(name)} {amount_text(name, one['used'])} of {amount_text(name, one['total'])} used, "
        f"{amount_text(name, one['free'])} free"
        for name, one in resources.items()
    ]
    return [f"  resources: {'; '.join(each)}"] if each else []


def _state(report: Mapping[str, Any]) -> str:
    text = f"{report['state'].replace('_', ' ')} for {duration(report['state_age'])}"
    if report["hands_back"]:
        text += ", handing back its runs"
    if report["why"]:
        text += f": {printable(report['why'])}"
    if report["pause_left"] is not None:
        text += f", {duration(report['pause_left'])} left"
    return text


def _run(run: Mapping[str, Any]) -> tuple[str, ...]:
    progress = _progress(Progress(**run["progress"])) if run["progress"] else ""
    name = f"({printable(run['name'])})" if run["name"] else ""
    return f"{run['task_id']}/{run['run_id']}", run["state"], duration(run["age"]), run["platform"], progress, name


def _progress(progress: Progress) -> str:
    return printable(f"{progress.step} {amount(progress)}".strip())


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """The cells of each row in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width).rstrip()
        for row in rows
    ]
