"""The words of the command line, and how often they are said."""

from __future__ import annotations

import pytest

from taskrunner.cli.display.lines import Often
from taskrunner.cli.display.view import amount, duration, news, step
from taskrunner.cli.options import printable, shown_url
from taskrunner.machines.chart import Move
from taskrunner.model import Claim, Progress
from taskrunner.worker.observer import RunView

SIGHT = RunView(Claim("t", 0, {}, "w", "token"), 0)


def test_lengths_of_time_and_amounts_are_short() -> None:
    assert [duration(each) for each in (0.04, 59.94, 61, 3600 * 3 + 65)] == ["0.0 s", "59.9 s", "1:01 min", "3:01:05 h"]
    assert amount(Progress("push", 1, 3)) == "33 %"
    assert amount(Progress("clone", 1_234_567)) == "1.2 MB"
    assert [amount(Progress("clone", each)) for each in (999, 1000, 2.5e9)] == ["999 B", "1.0 kB", "2.5 GB"]
    assert amount(Progress("build", 2, 5, "steps")) == "2 of 5 steps"
    assert amount(Progress("load", 2, unit="")) == "2"


def test_a_worker_tells_what_is_new_and_nothing_twice() -> None:
    assert news(Move("claiming", "paused", "running"), "the disk is full") == "takes no runs for now: the disk is full"
    assert news(Move("claiming", "shutdown", "shutting_down"), "SIGTERM") == "stops: SIGTERM"
    assert news(Move("shutting_down", "shutdown", "shutting_down"), "SIGTERM") == (
        "was told to stop again: hands back what runs"
    )
    assert news(Move("shutting_down", "drained", "stopped"), "SIGTERM") == "stopped"
    assert news(Move("claiming", "fatal", "shutting_down"), "no {braces}") == "is broken: no {braces}"
    for quiet in (("claiming", "took", "claiming"), ("shutting_down", "drained", "shutting_down")):
        assert news(Move(*quiet), "SIGTERM") == ""


def test_only_what_is_out_of_the_ordinary_is_said_to_have_moved_a_run() -> None:
    assert step(Move("running", "exited", "uploading")) == "uploading"
    assert step(Move("running", "reclaim_failed", "cleanup")) == "cleanup (reclaim failed)"


def test_a_step_is_told_of_every_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    quick, patient = Often(0.5), Often(5.0)
    push, build = Progress("push", 1, 10), Progress("build", 1, 10)
    assert quick.due(SIGHT, push, at_once=True)
    assert not patient.due(SIGHT, push)  # what is done soon needs no line at all
    now = 104.9
    assert quick.due(SIGHT, push, at_once=True)
    assert not patient.due(SIGHT, push)
    now = 105.0
    assert not quick.due(SIGHT, push, at_once=True)
    assert patient.due(SIGHT, push)
    assert not patient.due(SIGHT, build)
    patient.forget(SIGHT)
    assert not patient.due(SIGHT, push)


def test_nothing_from_outside_moves_the_cursor() -> None:
    assert printable("a\x1b[2Jb\r\n\tc\u202e") == "a\ufffd[2Jb\ufffd\n\tc\ufffd"


def test_a_url_is_shown_without_its_password() -> None:
    assert shown_url("sqlite:///var/lib/queue.db") == "sqlite:///var/lib/queue.db"
    assert shown_url("nats://host:4222/tasks?token=sesame") == "nats://host:4222/tasks"
    assert shown_url("nats://me:sesame@host:4222/tasks?token=sesame") == "nats://***@host:4222/tasks"
