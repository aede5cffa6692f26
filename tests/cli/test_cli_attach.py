"""`taskrunner attach`: a real worker, real processes, pipes and a terminal."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from taskrunner.testing.conformance.comparison import assert_same
from tests.support.command_line import LIMIT, TASKRUNNER, CommandLine, RunningCommand
from tests.support.terminal import Terminal, at_terminal

EXAMPLE = Path(__file__).parents[2] / "examples" / "tasks" / "interactive.toml"
INTERACTIVE = "interactive = true"
ASKING = "printf 'number? '; read number; echo got $number; cat; echo end"


class Place:
    """A home with a worker."""

    def __init__(self, cli: CommandLine, worker: RunningCommand) -> None:
        self.cli, self.worker = cli, worker

    def submit(self, task_id: str, script: str, extra: str = INTERACTIVE) -> None:
        """Returns when its command has started."""
        assert self.cli("submit", self.cli.task(task_id, script, extra)).status == 0
        self.until_started(task_id)

    def until_started(self, task_id: str, run_id: int = 0) -> None:
        self.worker.until(f"{task_id}/{run_id}  running")

    def terminal(self, task_id: str) -> AbstractContextManager[Terminal]:
        return at_terminal([TASKRUNNER, "attach", task_id], cwd=self.cli.folder, env=self.cli.env)

    def piped(self, task_id: str) -> subprocess.Popen[bytes]:
        """A client whose input the test holds open."""
        return subprocess.Popen(
            [TASKRUNNER, "attach", task_id],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.cli.env,
        )  # fmt: skip

    def log(self, task_id: str) -> str:
        return self.cli.run_log(task_id).read_text()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    cli = CommandLine(tmp_path_factory.mktemp("attach"))
    with cli.worker("--capacity", "20") as worker:
        yield Place(cli, worker)


def test_the_example_is_a_shell_that_reads_a_pipe(place: Place) -> None:
    assert place.cli("submit", str(EXAMPLE)).out == "interactive\n"
    place.until_started("interactive")
    assert place.cli.show("interactive")["interactive"] is True
    ended = place.cli("attach", "interactive", stdin="echo $GREETING\nexit 3\n")
    assert (ended.status, ended.out, ended.err) == (3, "hello\n", "")
    assert "platform process, interactive" in place.cli("show", "interactive").out
    assert "hello\n" in place.log("interactive")


def test_what_was_printed_before_is_shown_and_stderr_is_apart(place: Place) -> None:
    script = "seq 12; echo failed >&2; printf 'number? '; read n; echo $n"
    place.submit("asking", script, f"{INTERACTIVE}\nseparate_stderr = true")
    place.cli.until_logged("asking", "number? ")
    ended = place.cli("attach", "asking", stdin="5\n")
    assert ended.status == 0
    assert ended.out.endswith("11\n12\nnumber? 5\n")
    assert not ended.out.startswith("1\n"), "the last ten lines"
    assert ended.err == "failed\n"


def test_much_goes_in_and_comes_out_and_is_in_the_log(place: Place) -> None:
    data = b"".join(b"line %d\n" % number for number in range(400_000))
    place.submit("copying", "cat")
    ended = place.cli("attach", "copying", stdin=data)
    assert ended.status == 0
    assert_same(ended.raw, data)
    printed = re.sub(r"\[taskrunner\] .*\n", "", place.log("copying"))  # they may cut a line of the command in two
    assert_same(printed.replace("\n", "").encode(), data.replace(b"\n", b""))


def test_a_person_asks_detaches_and_comes_back(place: Place) -> None:
    place.submit("person", ASKING)
    with place.terminal("person") as person:
        assert b"attached to person/0" in person.until(b"number? ")
        person.type(b"7\r")
        person.until(b"got 7\r\n")
        person.type(b"\x03")
        assert b"detached" in person.until(b"goes on")
        assert person.end() == 130
        assert person.is_as_before
    assert place.cli.show("person")["state"] == "running"
    with place.terminal("person") as person:
        person.until(b"number? got 7\r\n")
        person.type(b"more\r")
        person.until(b"more\r\nmore\r\n")  # what was typed, and its copy
        person.type(b"\x04")
        person.until(b"end\r\n")
        assert person.end() == 0
        assert person.is_as_before
    log = place.log("person")
    assert log.count("[taskrunner] attach 1 has ended: its client has gone\n") == 1
    assert "[taskrunner] attach 2 was begun by user " in log
    assert "[taskrunner] attach 2 has ended the input of the command\n" in log


def test_nothing_of_the_output_moves_the_cursor_of_a_terminal(place: Place) -> None:
    place.submit("drawing", r"read go; printf 'a\033[2Jb\rc\033[31md\n'")
    with place.terminal("drawing") as person:
        person.type(b"\r")
        person.until(b"ab\r\nc\x1b[31md\r\n")
        person.until(b"\x1b[0m")  # its own colours
        assert person.end() == 0
    assert b"a\x1b[2Jb\rc" in place.cli.run_log("drawing").read_bytes()


def test_one_client_at_a_time_and_one_end_of_the_input(place: Place) -> None:
    place.submit("once", f"echo up; cat; read end < {place.cli.gate()}")
    with place.piped("once") as first:
        assert first.stdin
        assert first.stdout
        assert first.stdout.readline() == b"up\n"
        second = place.cli("attach", "once")
        assert second.status == 125
        assert f"(process {first.pid}) is attached to once/0" in second.err
        assert "`taskrunner logs --follow once`" in second.err
        first.stdin.write(b"through\n")
        first.stdin.close()
        assert first.stdout.readline() == b"through\n"
        place.cli.until_logged("once", "attach 1 has ended the input")
        first.kill()
    place.cli.until_logged("once", "its client has gone")
    third = place.cli("attach", "once")
    assert third.status == 125
    assert "the input of once/0 was ended by a client before" in third.err
    place.cli("cancel", "once")


def test_a_cancellation_is_told_to_who_is_attached(place: Place) -> None:
    place.submit("canceled", "echo up; cat")
    with place.terminal("canceled") as person:
        person.until(b"up\r\n")
        place.cli("cancel", "canceled")
        person.until(b"canceled/0 was stopped: exception (canceled)")
        assert person.end() == 125
        assert person.is_as_before


def test_an_input_that_nobody_ends_does_not_outlast_the_limit_of_time(place: Place) -> None:
    place.cli("submit", place.cli.task("idle", "cat", f"{INTERACTIVE}\nmax_run_time = 1"))
    assert place.cli("wait", "idle").status == 1
    assert place.cli.show("idle")["reason"] == "max-run-time"


def test_the_reader_of_the_output_goes_and_the_command_goes_on(place: Place) -> None:
    place.submit("flood", "read go; yes | head -n 100000; cat; echo end")
    pipe = f"{{ echo; cat; }} | {TASKRUNNER} attach flood | head -n 1"
    command = ["bash", "-c", f"{pipe}; exit ${{PIPESTATUS[1]}}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=place.cli.env) as shell:
        assert shell.stdin
        assert shell.stdout
        assert shell.stdout.readline() == b"y\n"
        place.cli.until_logged("flood", "its client has gone")
        shell.stdin.close()
        assert shell.wait(LIMIT) == 141
    ended = place.cli("attach", "flood", stdin="last\n")
    assert (ended.status, ended.out.endswith("y\nlast\nend\n")) == (0, True)
    assert place.log("flood").count("\ny") == 100_000


def test_the_log_has_no_line_that_was_typed_and_the_output_no_secret(place: Place) -> None:
    script = "read first; read second; echo $TOKEN; test $second = typed-second && exit 9"
    place.submit("secret", script, f'{INTERACTIVE}\nsecrets = {{ TOKEN = "s3cret-v4lue" }}')
    ended = place.cli("attach", "secret", stdin="typed-first\ntyped-second\n")
    assert (ended.status, ended.out) == (9, "***\n")
    assert "typed" not in place.log("secret")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "there is no task 'nothing'"),
        (("plain",), "plain/0 keeps no input open, its task has no `interactive = true`"),
        (("--run", "4", "plain"), "plain has no run 4: it has 0"),
        (("later",), "later is pending: no worker runs it yet"),
    ],
)
def test_what_cannot_be_attached_to_is_told(place: Place, arguments: tuple[str, ...], message: str) -> None:
    if not place.cli.run_log("plain").exists():
        place.submit("plain", "exec sleep 1000000", "")
        place.cli("submit", place.cli.task("later", "cat", f"{INTERACTIVE}\nnot_before = 2100-01-01T00:00:00Z"))
    refused = place.cli("attach", *arguments)
    assert refused.status == 125
    assert message in refused.err


def test_a_shutdown_is_told_to_who_is_attached(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    with cli.start("run") as worker:
        place = Place(cli, worker)
        place.submit("handed-back", "echo up; cat")
        with place.terminal("handed-back") as person:
            person.until(b"up\r\n")
            cli("drain", "--now")
            person.until(b"handed-back/0 was stopped: exception (worker-shutdown)")
            assert person.end() == 125
        assert worker.end() == 0


def test_after_a_kill_of_the_worker_the_next_run_is_attached_to(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    with cli.start("run") as worker:
        place = Place(cli, worker)
        place.submit("outlived", "echo run $RUN_ID; read line; echo got $line")
        with place.terminal("outlived") as person:
            person.until(b"run 0\r\n")
            worker.process.kill()
            person.until(b"the worker has closed the connection: it has stopped, or was killed")
            assert person.end() == 125
            assert person.is_as_before
    with cli.start("run", "--until-empty") as worker:
        Place(cli, worker).until_started("outlived", 1)
        ended = cli("attach", "outlived", stdin="again\n")
        assert ended.status == 0
        assert ended.out == "run 1\ngot again\n"
        assert worker.end() == 0
