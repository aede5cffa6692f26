"""The verbs that reach a running worker."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine, RunningCommand, open_gate


def status(cli: CommandLine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cli("status", "--json").out)
    return found


def started(cli: CommandLine, worker: RunningCommand) -> str:
    """The id of the worker, when it can be asked."""
    name = worker.until("tasks from").split()[2]
    while not socket_of(cli, name).is_socket():
        assert worker.process.poll() is None
    return name


def socket_of(cli: CommandLine, name: str) -> Path:
    return cli.folder / "home" / "workers" / f"{name}.sock"


def test_a_misspelt_home_is_told_and_not_made(cli: CommandLine) -> None:
    ended = cli("status")
    assert (ended.status, ended.out) == (1, "")
    assert f"there is no folder {cli.folder}/home, is TASKRUNNER_HOME right?" in ended.err
    assert not (cli.folder / "home").exists()


def test_without_a_worker_each_verb_says_so_and_exits_with_1(cli: CommandLine) -> None:
    (cli.folder / "home").mkdir()
    for verb in (["status"], ["pause"], ["resume"], ["drain"], ["drain", "--worker", "ci"]):
        ended = cli(*verb)
        assert (ended.status, ended.out) == (1, "")
        assert f"no worker runs on {cli.folder}/home" in ended.err
    assert "whose id begins with 'ci'" in cli("status", "--worker", "ci").err
    assert status(cli) == []


def test_status_shows_the_worker_and_its_runs(cli: CommandLine) -> None:
    gate = cli.gate()
    cli("submit", cli.task("slow", f"read x < {gate}", 'name = "unit tests"'))
    with cli.start("run", "--capacity", "3") as worker:
        name = started(cli, worker)
        worker.until("slow/0  running")
        shown = cli("status")
        assert shown.status == 0
        lines = shown.out.splitlines()
        assert lines[0].startswith(f"{name}  claiming for ")
        assert lines[1].startswith("  1 of 3 slots busy, 1 taken since ")
        assert lines[2] == f"  tasks from sqlite://{cli.folder}/home/queue.db"
        assert f"process {worker.process.pid} on arch " in lines[3]
        assert re.fullmatch(r"  slow/0  running  \d+\.\d s  process  \(unit tests\)", lines[4])
        [report] = status(cli)
        assert (report["worker_id"], report["pid"], report["capacity"]) == (name, worker.process.pid, 3)
        [run] = report["runs"]
        assert (run["task_id"], run["run_id"], run["state"], run["name"]) == ("slow", 0, "running", "unit tests")
        open_gate(gate)
        worker.until("slow/0  completed")
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0
    assert not list((cli.folder / "home" / "workers").iterdir())


def test_status_shows_what_is_used_and_free_of_the_resources(cli: CommandLine) -> None:
    gate = cli.gate()
    (cli.folder / "taskrunner.toml").write_text('[resources]\nmemory = "4GiB"\ngpu = 3\n')
    cli("submit", cli.task("slow", f"read x < {gate}", "resources = {gpu = 2}"))
    with cli.start("run") as worker:
        started(cli, worker)
        worker.until("slow/0  running")
        shown = "memory 0B of 4GiB used, 4GiB free; gpu 2 of 3 used, 1 free"
        assert cli("status").out.splitlines()[4] == f"  resources: {shown}"
        [report] = status(cli)
        assert report["resources"] == {
            "memory": {"total": 4 << 30, "used": 0, "free": 4 << 30},
            "gpu": {"total": 3, "used": 2, "free": 1},
        }
        open_gate(gate)
        worker.until("slow/0  completed")
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0


def test_a_paused_worker_takes_no_task_until_it_is_resumed(cli: CommandLine) -> None:
    with cli.start("run", "--max-tasks", "1") as worker:
        started(cli, worker)
        assert "paused by its operator" in cli("pause").out
        worker.until("takes no runs for now: paused by its operator")
        cli("submit", cli.task("hello", "true"))
        assert "  paused for" in cli("status").out
        assert cli.show("hello")["state"] == "pending"
        assert cli("resume").status == 0
        worker.until("takes runs again")
        worker.until("hello/0  completed")
        assert worker.end() == 0


def test_a_pause_ends_after_its_time(cli: CommandLine) -> None:
    with cli.start("run", "--max-tasks", "1") as worker:
        started(cli, worker)
        assert re.search(r"paused by its operator, 1:\d\d:\d\d h left", cli("pause", "--for", "1h30m").out)
        cli("submit", cli.task("hello", "true"))
        assert cli("pause", "--for", "0.1s").status == 0
        worker.until("takes runs again")
        worker.until("hello/0  completed")
        assert worker.end() == 0


def test_drain_is_the_first_signal_and_drain_now_the_second(cli: CommandLine) -> None:
    gate = cli.gate()
    cli("submit", cli.task("slow", f"read x < {gate}"))
    cli("submit", cli.task("next", "true"))
    with cli.start("run") as worker:
        worker.until("slow/0  running")
        assert "shutting down" in cli("drain").out
        worker.until("stops: drained by its operator")
        worker.signal(signal.SIGTERM)  # the first signal asks for the same
        assert "handing back its runs" in cli("drain", "--now").out
        worker.until("slow/0  uploading (shutdown)")
        assert worker.end() == 0
    assert cli.show("slow")["runs"][0]["reason"] == "worker-shutdown"
    assert cli.show("next")["state"] == "pending"


def test_a_drained_worker_finishes_what_it_runs(cli: CommandLine) -> None:
    gate = cli.gate()
    cli("submit", cli.task("slow", f"read x < {gate}"))
    with cli.start("run") as worker:
        worker.until("slow/0  running")
        assert cli("drain").status == 0
        worker.until("stops: drained by its operator")
        open_gate(gate)
        assert worker.end() == 0
    assert cli.show("slow")["resolution"] == "completed"


def test_one_of_several_workers_is_chosen_by_the_beginning_of_its_id(cli: CommandLine) -> None:
    with cli.start("run") as one, cli.start("run") as other:
        first, second = started(cli, one), started(cli, other)
        refused = cli("drain")
        assert refused.status == 2
        assert "--worker: several workers run here, choose one" in refused.err
        assert first in refused.err
        assert second in refused.err
        assert cli("drain", "--worker", second).out.startswith(second)
        other.until("stopped")
        assert [report["worker_id"] for report in status(cli)] == [first]


def test_a_worker_that_was_killed_is_named_and_its_socket_removed(cli: CommandLine) -> None:
    with cli.start("run") as worker:
        killed = started(cli, worker)
        worker.process.kill()
        worker.process.wait()
    assert socket_of(cli, killed).is_socket()
    shown = cli("status")
    assert shown.status == 1
    assert f"worker {killed} has died" in shown.err
    assert cli("run", "--until-empty").status == 0
    assert not socket_of(cli, killed).exists()
    assert "has died" not in cli("status").err


@pytest.mark.parametrize("text", ["", "10", "10x", "h", "-5s", "1h 30m", "nan", "inf", "1e3", "9" * 400])
def test_what_is_no_length_of_time_is_refused(cli: CommandLine, text: str) -> None:
    ended = cli("pause", "--for", text)
    assert ended.status == (1 if text == "10" else 2)
    assert ("no worker runs" if text == "10" else "is no length of time") in ended.err


def test_a_worker_that_hangs_is_told_from_one_that_is_not_there(cli: CommandLine) -> None:
    with cli.start("run") as worker:
        name = started(cli, worker)
        socket_of(cli, name).unlink()
        ended = cli("status")
        assert (ended.status, ended.out) == (1, "")
        assert f"worker {name} cannot be asked: No such file or directory" in ended.err
