"""The clock of a worker is set a day forward or back while it runs tasks."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskrunner.errors import UnknownTask
from tests.support.e2e import LIMIT, Site
from tests.support.false_clock import DAY, FalseClock
from tests.support.queue_processes import soon

LEASE = 15.0
"""Seconds. It is renewed every five, so that a worker may be held up for ten."""


@pytest.fixture
def clock(site: Site) -> Iterator[FalseClock]:
    """Of what the site starts, not of this process."""
    clock = FalseClock(site.folder / "clock")
    site.variables |= clock.variables
    yield clock
    clock.set(0)


def task(site: Site, name: str, script: str, **more: Any) -> str:
    return site.submit({**site.process(script), "id": f"{name}-{site.token}", **more})


def due(site: Site, task_id: str) -> float:
    """When the lease of a run ends, by the clock of the queue."""
    with closing(sqlite3.connect(site.home / "queue.db")) as database:
        (found,) = database.execute("SELECT due FROM task WHERE id = ?", (task_id,)).fetchone()
        return float(found)


def in_hours(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


def test_what_runs_is_neither_lost_nor_hurried_nor_held_up(site: Site, clock: FalseClock) -> None:
    site.configure(f"lease = {LEASE}\ncapacity = 2\n")
    pipe = site.folder / "pipe"
    os.mkfifo(pipe)
    long = task(site, "long", f"echo begun; read line < {pipe}; echo $line", max_run_time=3600)
    worker = site.worker()
    site.wait_for_log(long, "begun")
    for offset in (DAY, -DAY):
        clock.set(offset)
        before = due(site, long)
        short = task(site, f"short{offset}", "echo short")
        stuck = task(site, f"stuck{offset}", f"sleep {site.token}", max_run_time=1)
        site.wait_for_state(short, "resolved")
        site.wait_for_state(stuck, "resolved")
        assert soon(lambda before=before: due(site, long) > before, LIMIT), "the lease is not renewed"
        assert site.resolutions(short) == ["completed"]
        assert site.resolutions(stuck) == ["failed (max-run-time)"]
    pipe.write_text("went on\n")
    site.wait_for_state(long, "resolved")
    worker.terminate()
    assert worker.wait() == 0, worker.output
    assert site.resolutions(long) == ["completed"], worker.output
    assert "went on" in site.log(long)
    assert site.leftovers() == []


def test_times_of_day_follow_the_clock(site: Site, clock: FalseClock) -> None:
    """What waits for a time of day begins, or is late, when the clock says so."""
    hours = {"not_before": in_hours(12)}
    early, late = task(site, "early", "true", **hours), task(site, "late", "true", **hours, deadline=in_hours(13))
    far = task(site, "far", "true", not_before=in_hours(48))
    worker = site.worker()
    site.wait_for_state(task(site, "now", "true"), "resolved")
    assert [site.status(each).state for each in (early, late, far)] == ["pending"] * 3
    clock.set(DAY)
    site.wait_for_state(early, "resolved")
    worker.terminate()
    assert worker.wait() == 0, worker.output
    assert site.resolutions(early) == ["completed"]
    assert (str(site.status(late).resolution), site.status(late).runs) == ("exception (deadline-exceeded)", ())
    assert site.status(far).state == "pending"


def test_retention_counts_by_the_clock_and_spares_what_is_not_over(site: Site, clock: FalseClock) -> None:
    site.configure("[retention]\nrun_days = 2\ntask_days = 2\n")
    over = task(site, "over", "echo it was here")
    assert site.worker("--max-tasks", "1").wait() == 0
    waiting = task(site, "waiting", "true", not_before=in_hours(1000))
    for offset in (-DAY, DAY):
        clock.set(offset)
        assert site.command("prune").status == 0
        assert "it was here" in site.log(over)
        assert site.resolutions(over) == ["completed"]
    clock.set(3 * DAY)
    assert site.command("prune").status == 0
    assert site.log(over) == ""
    with pytest.raises(UnknownTask):
        site.status(over)
    assert site.status(waiting).state == "pending"
