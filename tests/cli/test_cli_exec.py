"""`taskrunner exec`: a real worker, real processes, and a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from taskrunner.cli import taskrunner
from tests.support.command_line import LIMIT, TASKRUNNER, CommandLine, open_gate
from tests.support.terminal import Terminal, at_terminal

SLEEPER = "shell"
EXAMPLE = Path(__file__).parents[2] / "examples" / "tasks" / "shell.toml"


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """With a worker, and the task of the example, which runs until the end of the tests."""
    cli = CommandLine(tmp_path_factory.mktemp("exec"))
    assert cli("submit", str(EXAMPLE)).out == f"{SLEEPER}\n"
    with cli.worker("--capacity", "3") as worker:
        worker.until(f"{SLEEPER}/0  running")
        yield cli


def terminal(cli: CommandLine, *command: str) -> AbstractContextManager[Terminal]:
    return at_terminal([TASKRUNNER, "exec", SLEEPER, "--", *command], cwd=cli.folder, env={**cli.env, "TERM": "vt220"})


def refused(cli: CommandLine, *arguments: str) -> tuple[int, str]:
    """Exit status and message of a command that does not begin; in this process, which is faster."""
    ended = CliRunner().invoke(taskrunner, ["exec", *arguments], env=cli.env)
    return ended.exit_code, ended.output


def started_process(seen: bytes) -> psutil.Process:
    """A process that has printed its number."""
    return psutil.Process(int(seen.split()[-1]))


def test_the_streams_and_the_status_are_those_of_the_command(cli: CommandLine) -> None:
    data = os.urandom(3 << 20)
    ended = cli("exec", SLEEPER, "--", "sh", "-c", "cat; echo failed >&2; exit 7", stdin=data)
    assert (ended.status, ended.err) == (7, "failed\n")
    assert ended.raw == data


def test_a_command_has_the_variables_and_the_folder_of_the_run_and_others(cli: CommandLine) -> None:
    script = "echo $GREETING $MINE; pwd"
    ended = cli("exec", SLEEPER, "--env", "MINE=1", "--", "sh", "-c", script)
    assert ended.out == f"hello 1\n{cli.folder}/home/runs/{SLEEPER}/0/work\n"
    ended = cli("exec", "--run", "0", "--cwd", "/", "--env", "XDG_CONFIG_HOME", SLEEPER, "--", "sh", "-c", "pwd; env")
    assert ended.out.startswith("/\n")
    assert f"XDG_CONFIG_HOME={cli.env['XDG_CONFIG_HOME']}" in ended.out
    assert "PYTHON" not in ended.out
    assert "TASKRUNNER_HOME" not in ended.out


def test_a_signal_is_128_and_its_number(cli: CommandLine) -> None:
    assert cli("exec", SLEEPER[:5], "--", "sh", "-c", "kill -9 $$").status == 137


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((SLEEPER, "--", "no-such-command"), 126, "there is no command 'no-such-command'"),
        (("--cwd", "nowhere", SLEEPER, "--", "ls"), 126, "there is no folder 'nowhere'"),
        (("--env", "1=2", SLEEPER, "--", "ls"), 125, "env['1']: no name of an environment variable"),
        (("--env", "NOT_SET_HERE", SLEEPER, "--", "ls"), 2, "--env: NOT_SET_HERE is not set here"),
        (("--run", "4", SLEEPER, "--", "ls"), 125, "shell has no run 4: it has 0"),
        (("nothing", "--", "ls"), 125, "there is no task 'nothing'"),
        ((SLEEPER, "ls"), 2, "Write the command after two dashes"),
        ((SLEEPER, "--"), 2, "Write the command after two dashes"),
        (("--", "ls"), 2, "Missing argument 'TASK -- COMMAND...'"),
        ((SLEEPER, "--", ""), 126, "there is no command ''"),
        ((SLEEPER, "--", "x" * 70000), 125, "a request may have 65,536 bytes"),
    ],
)
def test_what_cannot_be_done_is_told(cli: CommandLine, arguments: tuple[str, ...], status: int, message: str) -> None:
    found, text = refused(cli, *arguments)
    assert found == status
    assert message in text


def test_a_task_that_does_not_run_here_is_told_from_one_that_runs_elsewhere(cli: CommandLine, tmp_path: Path) -> None:
    cli("submit", cli.task("later", "true", "not_before = 2100-01-01T00:00:00Z"))
    assert "later is pending: no worker runs it yet" in refused(cli, "later", "--", "ls")[1]
    cli("cancel", "later")
    assert "later does not run any more: exception (canceled)" in refused(cli, "later", "--", "ls")[1]
    elsewhere = CommandLine(tmp_path)
    (tmp_path / "home").mkdir()
    elsewhere.env["TASKRUNNER_QUEUE"] = f"sqlite://{cli.folder}/home/queue.db"
    status, message = refused(elsewhere, SLEEPER, "--", "ls")
    assert status == 125
    assert f"call this on TASKRUNNER_HOME={cli.folder}/home" in message
    elsewhere.env["TASKRUNNER_QUEUE"] = f"sqlite://{tmp_path}/none.db"
    assert f"no worker on {tmp_path}/home runs a task shell" in refused(elsewhere, SLEEPER, "--", "ls")[1]


def test_a_task_whose_worker_has_died_is_told_from_one_that_runs_elsewhere(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    cli("submit", cli.task("orphan", "test $RUN_ID != 0 || exec sleep 600"))
    with cli.start("run") as worker:
        worker.until("orphan/0  running")
        worker.signal(signal.SIGKILL)
        worker.process.wait()
    status, message = refused(cli, "orphan", "--", "ls")
    assert status == 125
    assert f"which has died: the next worker on {tmp_path}/home removes what is left" in message
    assert cli("run", "--until-empty").status == 0
    assert cli.show("orphan")["resolution"] == "completed"


def test_a_shell_at_a_terminal(cli: CommandLine) -> None:
    with terminal(cli, "sh") as person:
        person.type(b"PS1='; '; stty size; echo $TERM; test -t 2 && echo at $((40 + 2))\r")
        person.until(b"24 80\r\nvt220\r\nat 42\r\n")
        person.resize(33, 111)
        person.type(b"stty size; echo resize$((40 + 2))\r")
        person.until(b"resize42")
        person.type(b"sh -c 'echo wait$((40 + 2)); exec sleep 1000000'\r")
        person.until(b"wait42")
        person.type(b"\x03")
        person.type(b"echo status=$?; stty size\r")
        person.until(b"status=130\r\n33 111\r\n")
        assert not person.is_as_before
        person.type(b"exit 9\r")
        assert person.end() == 9
        assert person.is_as_before


def test_the_end_of_input_at_a_terminal_reaches_the_command(cli: CommandLine) -> None:
    with terminal(cli, "sh", "-c", "echo up; exec cat") as person:
        person.until(b"up\r\n")
        person.type(b"hello\r\x04")
        person.until(b"hello\r\nhello\r\n")
        assert person.end() == 0
        assert person.is_as_before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(cli: CommandLine, number: signal.Signals) -> None:
    with terminal(cli, "sh", "-c", "echo $$; exec sleep 1000000") as person:
        command = started_process(person.until(b"\r\n"))
        person.process.send_signal(number)
        assert person.end() == 128 + number
        assert person.is_as_before
    command.wait(LIMIT)


def test_a_client_that_is_killed_takes_its_command_with_it(cli: CommandLine) -> None:
    script = "(setsid sleep 1000000 & echo $!); exec sleep 1000000"
    with cli.start("exec", SLEEPER, "--", "sh", "-c", script) as client:
        command = started_process(client.until("", stream="stdout").encode())
        client.process.kill()
        command.wait(LIMIT)
    cli.until_logged(SLEEPER, "its client has gone")
    log = cli.run_log(SLEEPER).read_text()
    assert "[taskrunner] exec 1 (" in log
    assert "setsid" not in log, "arguments may hold secrets"


def test_a_reader_of_the_output_that_goes_takes_the_command_with_it(cli: CommandLine) -> None:
    pipe = f"{TASKRUNNER} exec {SLEEPER} -- sh -c 'echo $$; exec yes' | head -n 1000"
    shell = subprocess.run(["bash", "-c", f"{pipe}; exit ${{PIPESTATUS[0]}}"],
                           check=False, capture_output=True, env=cli.env, timeout=LIMIT)  # fmt: skip
    assert shell.returncode == 141
    number = int(shell.stdout.split()[0])
    if psutil.pid_exists(number):
        psutil.Process(number).wait(LIMIT)


def test_the_end_of_the_run_ends_its_commands(cli: CommandLine) -> None:
    gate = cli.gate()
    cli("submit", cli.task("ending", f"read x < {gate}"))
    while not (begun := cli("exec", "ending", "--", "echo", "in")).out:
        assert begun.status == 125, begun
    with cli.start("exec", "ending", "--", "sh", "-c", "echo in; exec sleep 1000000") as client:
        client.until("in", stream="stdout")
        open_gate(gate)
        assert client.end() == 137


def test_a_terminal_of_which_one_stream_is_elsewhere_is_none(cli: CommandLine) -> None:
    """So that the bytes of a redirected output are what they are."""
    command = f"{TASKRUNNER} exec {SLEEPER} -- sh -c 'printf \"a\\nb\"; test -t 0' > out; echo status=$?"
    with at_terminal(["sh", "-c", command], cwd=cli.folder, env=cli.env) as person:
        person.until(b"status=1")
        assert person.end() == 0
    assert (cli.folder / "out").read_bytes() == b"a\nb"
