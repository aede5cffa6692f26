"""A worker on the command line: stop conditions, signals and output."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.support.command_line import LIMIT, TASKRUNNER, CommandLine, open_gate

AGAIN = "[on_exit_status]\nretry = [7]\n"


def states(lines: list[str], run: str) -> list[str]:
    return [line.split("  ", 1)[1] for line in lines if f" {run}  " in line]


def test_until_empty_runs_every_task_and_prints_a_line_for_each_change(cli: CommandLine) -> None:
    for task_id in ("one", "two"):
        cli("submit", cli.task(task_id, "true"))
    ended = cli("run", "--until-empty")
    lines = ended.err.splitlines()
    assert (ended.status, ended.out) == (0, "")
    assert " with 1 slot, tasks from sqlite:///" in lines[0]
    for run in ("one/0", "two/0"):
        said = states(lines, run)
        assert said[:-1] == ["claimed", "loading", "running", "uploading", "cleanup"]
        assert said[-1].startswith("completed after")
    assert [line.split(" ", 1)[1] for line in lines[-2:]] == ["worker  stops: nothing is pending", "worker  stopped"]


def test_until_empty_waits_for_retries(cli: CommandLine) -> None:
    cli("submit", cli.task("twice", f"test -e {cli.folder}/seen || {{ touch {cli.folder}/seen; exit 7; }}", AGAIN))
    assert cli("run", "--until-empty").status == 0
    shown = cli.show("twice")
    assert [run["reason"] for run in shown["runs"]] == ["intermittent-task", None]
    assert shown["resolution"] == "completed"


def test_a_worker_stops_at_max_tasks_and_at_its_idle_timeout(cli: CommandLine) -> None:
    for task_id in ("one", "two"):
        cli("submit", cli.task(task_id, "true"))
    assert cli("run", "--max-tasks", "1").status == 0
    assert sorted(cli.show(task_id)["state"] for task_id in ("one", "two")) == ["pending", "resolved"]
    idle = cli("run", "--idle-timeout", "0.2")
    assert idle.status == 0
    assert "stops: nothing to do for 0.2 s" in idle.err
    assert {cli.show(task_id)["state"] for task_id in ("one", "two")} == {"resolved"}


def test_the_first_signal_lets_runs_finish(cli: CommandLine) -> None:
    gate = cli.gate()
    cli("submit", cli.task("slow", f"read x < {gate}"))
    cli("submit", cli.task("next", "true"))
    with cli.start("run") as worker:
        worker.until("slow/0  running")
        worker.signal(signal.SIGTERM)
        worker.until("stops: SIGTERM")
        open_gate(gate)
        assert worker.end() == 0
    assert cli.show("slow")["resolution"] == "completed"
    assert cli.show("next")["state"] == "pending"


def test_the_second_signal_hands_runs_back(cli: CommandLine) -> None:
    cli("submit", cli.task("slow", f"read x < {cli.gate()}"))
    with cli.start("run") as worker:
        worker.until("slow/0  running")
        worker.signal(signal.SIGTERM)
        worker.until("stops: SIGTERM")
        worker.signal(signal.SIGINT)
        worker.until("slow/0  uploading (shutdown)")
        assert worker.end() == 0
    shown = cli.show("slow")
    assert (shown["state"], shown["runs"][0]["reason"]) == ("pending", "worker-shutdown")


def test_a_running_task_is_cancelled_from_another_process(cli: CommandLine) -> None:
    cli("submit", cli.task("slow", f"read x < {cli.gate()}"))
    with cli.start("run", "--max-tasks", "1") as worker:
        worker.until("slow/0  running")
        assert cli("cancel", "slow", "--message", "wrong branch").status == 0
        worker.until("slow/0  exception (canceled)")
        assert worker.end() == 0
    assert "wrong branch" in cli("show", "slow").out
    assert "exception (canceled)" in cli("logs", "slow", "-f").out.splitlines()[-1]


def test_json_is_one_object_a_line(cli: CommandLine) -> None:
    cli("submit", cli.task("one", "exit 2"))
    ended = cli("run", "--until-empty", "--json", "--capacity", "3")
    said = [json.loads(line) for line in ended.out.splitlines()]
    assert (ended.status, ended.err) == (0, "")
    assert (said[0]["kind"], said[0]["state"], said[0]["capacity"]) == ("worker", "booting", 3)
    moves = [each["state"] for each in said if each["kind"] == "moved"]
    assert [state for i, state in enumerate(moves) if state not in moves[:i]] == [
        "loading", "running", "uploading", "cleanup", "resolved",
    ]  # fmt: skip
    [end] = [each for each in said if each["kind"] == "ended"]
    assert (end["task_id"], end["resolution"], end["reason"], end["exit_code"]) == ("one", "failed", "exit-code", 2)
    assert said[-1]["state"] == "stopped"


def test_a_task_ends_though_the_reader_of_its_log_has_gone(cli: CommandLine) -> None:
    gate = cli.gate()
    path = cli.task("chatty", f"echo first; read x < {gate}; seq 100000")
    command = [TASKRUNNER, "run", "--task", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cli.folder, env=cli.env) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        while run.stdout.readline() != b"first\n":
            pass
        run.stdout.close()
        open_gate(gate)
        said = run.stderr.read().decode()
        assert run.wait() == 0
    assert "Traceback" not in said
    assert "chatty/0  completed" in said.splitlines()[-1]


WRITING = """
import asyncio, math, sys
from taskrunner.blocking import run_blocking
from taskrunner.cli.display.line_writer import LineWriter
from taskrunner.cli.display.stdout import write_or_discard

async def write_log():
    await run_blocking(lambda: write_or_discard(sys.stdout, bytes(1 << 20)), limit=math.inf, doing="writing")

async def write_lines():
    lines = LineWriter(sys.stdout)
    lines.write("0" * (1 << 20))
    await lines.close()

async def main():
    writing = asyncio.create_task(globals()[sys.argv[1]]())
    await run_blocking(sys.stdin.read, limit=60, doing="waiting for the test")
    writing.cancel()

asyncio.run(main())
"""
"""Ends while its thread is blocked by a reader who has paused. Run with -E, since PYTHONUNBUFFERED leaves no lock to
be held."""


@pytest.mark.parametrize("work", ["write_log", "write_lines"])
def test_a_reader_who_has_paused_does_not_keep_the_process_alive(work: str) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-E", "-c", WRITING, work], stdin=pipe, stdout=pipe, stderr=pipe) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stderr is not None
        assert writer.stdout.read(1) in {b"\0", b"0"}  # it writes, and the rest does not fit into the pipe
        writer.stdin.close()
        assert writer.wait(LIMIT) == 0
        assert writer.stderr.read() == b""


def test_options_that_contradict_each_other_are_refused(cli: CommandLine) -> None:
    ended = cli("run", "--task", cli.task("one", "true"), "--until-empty")
    assert ended.status == 2
    assert "--until-empty" in ended.err
    assert cli("show", "one").status == 2


def test_a_secret_that_vanishes_ends_the_run_that_needs_it_and_not_the_worker(cli: CommandLine) -> None:
    secret = cli.folder / "secret"
    secret.write_text("sesame")
    (cli.folder / "taskrunner.toml").write_text(f'secrets = {{a = {{file = "{secret}"}}}}\n')
    with cli.start("run") as worker:
        worker.until("with 1 slot")
        secret.unlink()
        cli("submit", cli.task("needs", "true", 'secrets = {A = {secret = "a"}}'))
        worker.until("needs/0  exception (internal-error)")
        cli("submit", cli.task("needs-none", "true"))
        worker.until("needs-none/0  completed")
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0
    message = cli.show("needs")["runs"][0]
    assert f"the worker's configuration: secrets.a: {secret} cannot be read" in json.dumps(message)
