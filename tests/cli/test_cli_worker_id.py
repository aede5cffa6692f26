"""A worker with a given name: a second one is refused, and after a kill the next one with the name recovers."""

from __future__ import annotations

import signal

from tests.support.command_line import CommandLine


def test_a_second_worker_of_the_same_name_is_refused_with_words(cli: CommandLine) -> None:
    cli.env["TASKRUNNER_WORKER_ID"] = "ci-1"
    with cli.start("run") as first:
        first.until(" ci-1-")
        for verb in (["run", "--until-empty"], ["run", "--task", cli.task("one", "true")]):
            second = cli(*verb)
            assert second.status == 2
            assert "a worker named ci-1 runs on" in second.err
        checked = cli("config", "check")
        assert checked.status == 0
        assert "TASKRUNNER_WORKER_ID: a worker named ci-1 runs now; a second one would not start" in checked.err
        cli.env["TASKRUNNER_WORKER_ID"] = "ci-2"
        assert cli("run", "--until-empty").status == 0
        first.signal(signal.SIGTERM)
        assert first.end() == 0
    cli.env["TASKRUNNER_WORKER_ID"] = "ci-1"
    assert cli("run", "--until-empty").status == 0


def test_the_next_worker_of_a_killed_one_of_its_name_hands_back_its_runs(cli: CommandLine) -> None:
    cli.env["TASKRUNNER_WORKER_ID"] = "ci-1"
    cli("submit", cli.task("one", '[ "$RUN_ID" = 1 ] || exec sleep 600'))
    with cli.start("run") as first:
        first.until("one/0  running")
        first.signal(signal.SIGKILL)
        first.process.wait()
    ended = cli("run", "--until-empty")
    assert ended.status == 0
    shown = cli.show("one")
    assert [run["reason"] for run in shown["runs"]] == ["worker-shutdown", None]
    dead, living = (run["worker_id"] for run in shown["runs"])
    assert dead != living
    assert dead.startswith("ci-1-")
    assert living.startswith("ci-1-")
    assert f"run one/0 of worker {dead}, which died, was handed back" in ended.err
