"""`taskrunner attach` to the command of a container, on a real worker."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.command_line import TASKRUNNER, CommandLine
from tests.support.terminal import at_terminal

ASKING = "printf 'number? '; read number; echo got $number; echo failed >&2; cat; echo end; exit 4"


def submit(cli: CommandLine, base_image: str, task_id: str, script: str) -> None:
    task = {"id": task_id, "platform": "docker", "image": base_image, "command": ["sh", "-c", script]}
    (cli.folder / f"{task_id}.json").write_text(json.dumps({**task, "interactive": True}))
    assert cli("submit", f"{task_id}.json").status == 0


def test_the_command_of_a_container_is_attached_to(tmp_path: Path, base_image: str) -> None:
    cli = CommandLine(tmp_path)
    submit(cli, base_image, "boxed", ASKING)
    with cli.start("run") as worker:
        worker.until("boxed/0  running")
        with at_terminal([TASKRUNNER, "attach", "boxed"], cwd=tmp_path, env=cli.env) as person:
            person.until(b"number? ")
            person.type(b"7\r")
            person.until(b"got 7\r\n")
            person.type(b"\x03")
            person.until(b"goes on")
            assert person.end() == 130
        ended = cli("attach", "boxed", stdin=b"\0\xff\x10\x11")
        assert (ended.status, ended.err) == (4, "failed\n")
        assert ended.raw == b"number? got 7\n\0\xff\x10\x11end\n"
        cli("drain", "--now")
        assert worker.end() == 0


def test_a_container_that_reads_no_more_goes_on_and_is_canceled(tmp_path: Path, base_image: str) -> None:
    cli = CommandLine(tmp_path)
    submit(cli, base_image, "deaf", "exec < /dev/null; mkfifo gate; echo closed; read end < gate; echo heard")
    with cli.start("run") as worker:
        worker.until("deaf/0  running")
        with at_terminal([TASKRUNNER, "attach", "deaf"], cwd=tmp_path, env=cli.env) as person:
            person.until(b"closed\r\n")
            person.type(b"for nobody\r")
            assert cli("exec", "deaf", "--", "sh", "-c", "echo > gate").status == 0
            person.until(b"heard\r\n")
            assert person.end() == 0
        submit(cli, base_image, "canceled", "echo up; cat")
        worker.until("canceled/0  running")
        with at_terminal([TASKRUNNER, "attach", "canceled"], cwd=tmp_path, env=cli.env) as person:
            person.until(b"up\r\n")
            cli("cancel", "canceled")
            person.until(b"canceled/0 was stopped: exception (canceled)")
            assert person.end() == 125
        cli("drain", "--now")
        assert worker.end() == 0


def test_the_next_run_of_a_killed_workers_container_is_attached_to(tmp_path: Path, base_image: str) -> None:
    cli = CommandLine(tmp_path)
    submit(cli, base_image, "outlived", "echo run $RUN_ID; read line; echo got $line")
    with cli.start("run") as worker:
        worker.until("outlived/0  running")
        with at_terminal([TASKRUNNER, "attach", "outlived"], cwd=tmp_path, env=cli.env) as person:
            person.until(b"run 0\r\n")
            worker.process.kill()
            person.until(b"the worker has closed the connection")
            assert person.end() == 125
    with cli.start("run", "--until-empty") as worker:
        worker.until("outlived/1  running")
        ended = cli("attach", "outlived", stdin="again\n")
        assert (ended.status, ended.out) == (0, "run 1\ngot again\n")
        assert worker.end() == 0
