"""The texts of the displays, and how often a step is reported."""

from __future__ import annotations

import pytest

from taskrunner.cli.display.lines import Throttle
from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.text import amount, duration, run_state, worker_event
from taskrunner.cli.tasks.show import source_lines
from taskrunner.config.queue_url import public_url
from taskrunner.machines.chart import Move
from taskrunner.model import Claim, Progress
from taskrunner.runs.observer import RunView

RUN = RunView(Claim("t", 0, {}, "w", "token"), 0)


def test_durations_and_amounts_are_short() -> None:
    assert [duration(each) for each in (0.04, 59.94, 61, 3600 * 3 + 65)] == ["0.0 s", "59.9 s", "1:01 min", "3:01:05 h"]
    assert amount(Progress("push", 1, 3)) == "33 %"
    assert amount(Progress("clone", 1_234_567)) == "1.2 MB"
    assert [amount(Progress("clone", each)) for each in (999, 1000, 2.5e9)] == ["999 B", "1.0 kB", "2.5 GB"]
    assert amount(Progress("build", 2, 5, "steps")) == "2 of 5 steps"
    assert amount(Progress("load", 2, unit="")) == "2"


@pytest.mark.parametrize(
    ("move", "why", "text"),
    [
        (Move("claiming", "pause", "paused"), "the disk is full", "takes no runs for now: the disk is full"),
        (Move("claiming", "shutdown", "shutting_down"), "SIGTERM", "stops: SIGTERM"),
        (Move("shutting_down", "shutdown_now", "shutting_down"), "SIGTERM", "stops at once: hands back what runs"),
        (Move("claiming", "shutdown_now", "shutting_down"), "SIGHUP", "stops: SIGHUP"),
        (Move("shutting_down", "shutdown", "shutting_down"), "SIGTERM", ""),
        (Move("shutting_down", "drained", "stopped"), "SIGTERM", "stopped"),
        (Move("claiming", "fatal", "shutting_down"), "no {braces}", "is broken: no {braces}"),
        (Move("claiming", "took", "claiming"), "SIGTERM", ""),
        (Move("shutting_down", "drained", "shutting_down"), "SIGTERM", ""),
    ],
)
def test_a_workers_event_is_shown_when_it_is_new(move: Move, why: str, text: str) -> None:
    assert worker_event(move, why) == text


def test_an_event_is_shown_beside_a_state_when_it_is_out_of_the_ordinary() -> None:
    assert run_state(Move("running", "exited", "uploading")) == "uploading"
    assert run_state(Move("running", "reclaim_failed", "cleanup")) == "cleanup (reclaim failed)"


def test_the_reports_of_a_step_are_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    quick, patient = Throttle(0.5), Throttle(5.0)
    push, build = Progress("push", 1, 10), Progress("build", 1, 10)
    assert quick.due(RUN, push, at_once=True)
    assert not patient.due(RUN, push)  # a short step needs no line
    now = 104.9
    assert quick.due(RUN, push, at_once=True)
    assert not patient.due(RUN, push)
    now = 105.0
    assert not quick.due(RUN, push, at_once=True)
    assert patient.due(RUN, push)
    assert not patient.due(RUN, build)
    patient.forget(RUN)
    assert not patient.due(RUN, push)


def test_a_text_cannot_move_the_cursor() -> None:
    assert printable("a\x1b[2Jb\r\n\tc\u202e") == "a\ufffd[2Jb\ufffd\n\tc\ufffd"


def test_a_url_is_shown_without_its_password() -> None:
    assert public_url("sqlite:///var/lib/queue.db") == "sqlite:///var/lib/queue.db"
    assert public_url("nats://host:4222/tasks?token=sesame") == "nats://host:4222/tasks"
    assert public_url("nats://me:sesame@host:4222/tasks?token=sesame") == "nats://***@host:4222/tasks"


def test_the_source_of_a_task_is_shown_without_credentials() -> None:
    assert source_lines({"repository": "https://ann:se@cret@git.example/web.git", "ref": "main"}) == [
        "source https://git.example/web.git main"
    ]
    assert source_lines({"repository": "git@git.example:web.git"}) == ["source git@git.example:web.git"]
    archive = "https://ann:secret@files.example/src.tar.gz?signature=0123"
    assert source_lines({"archive": archive}) == ["source https://files.example/src.tar.gz"]
    assert source_lines({"ref": None}) == source_lines(None) == source_lines("x") == []
