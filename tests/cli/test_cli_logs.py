"""`logs` and `artifacts`."""

from __future__ import annotations

import json
import subprocess

from tests.support.command_line import TASKRUNNER, CommandLine, open_gate

AGAIN = "[on_exit_status]\nretry = [7]\n"
TWO = '[[artifacts]]\nname = "out"\npath = "out"\n[[artifacts]]\nname = "bytes"\npath = "bytes"\n'
MAKE = (
    "mkdir -p out/deep && echo one > out/one.txt && echo two > out/deep/two.txt && printf '\\000\\377\\n\\001' > bytes"
)


def test_a_log_is_followed_from_pending_through_its_retry_to_the_end(cli: CommandLine) -> None:
    gate, again = cli.gate(), cli.folder / "again"
    script = f"test -e {again} && echo second try && exit; echo first try; read x < {gate}; touch {again}; exit 7"
    cli("submit", cli.task("twice", script, AGAIN))
    with cli.start("logs", "twice", "-f") as following, cli.start("run", "--until-empty") as worker:
        following.until("first try", stream="stdout")
        open_gate(gate)
        assert following.end() == 0
        assert worker.end() == 0
    lines = following.lines
    assert lines.index("first try") < lines.index("second try")
    assert "exception (intermittent-task)" in "\n".join(lines)
    assert lines[-1].startswith("[taskrunner] completed after")
    assert cli("logs", "twice", "--run", "0").out + cli("logs", "twice").out == "\n".join(lines) + "\n"
    missing = cli("logs", "twice", "--run", "5")
    assert (missing.status, missing.err) == (2, "taskrunner: twice has no run 5: it has 0, 1\n")


def test_a_log_is_printed_as_bytes_and_from_any_offset(cli: CommandLine) -> None:
    cli("run", "--task", cli.task("binary", "printf '\\000\\377\\033[2J\\r'"))
    whole = cli("logs", "binary").raw
    assert b"\x00\xff\x1b[2J\r" in whole
    assert cli("logs", "binary", "--offset", "10").raw == whole[10:]


def test_logs_of_a_pending_task_says_how_to_wait(cli: CommandLine) -> None:
    cli("submit", cli.task("later", "true"))
    ended = cli("logs", "later")
    assert (ended.status, ended.out) == (1, "")
    assert "-f waits for it" in ended.err


def test_the_log_comes_from_the_store_when_the_folder_of_the_run_is_gone(cli: CommandLine) -> None:
    cli("run", "--task", cli.task("old", "echo kept"))
    before = cli("logs", "old").out
    subprocess.run(["rm", "-r", str(cli.folder / "home" / "runs" / "old")], check=True)
    assert "kept\n" in before
    assert cli("logs", "old").out == before
    assert cli("logs", "old", "-f").out == before


def test_a_reader_that_closes_the_pipe_is_no_error(cli: CommandLine) -> None:
    cli("run", "--task", cli.task("long", "seq 200000"))
    reading = f"{TASKRUNNER} logs long; echo $? >&2"
    ended = subprocess.run(
        ["sh", "-c", f"({reading}) | head -n 1"], check=True, capture_output=True, text=True, env=cli.env
    )
    assert ended.stdout.startswith("[taskrunner] task long/0")
    assert ended.stderr == "141\n"


def test_artifacts_are_listed_and_fetched_whole(cli: CommandLine) -> None:
    cli("run", "--task", cli.task("maker", MAKE, TWO))
    listed = cli("artifacts", "maker").out.splitlines()
    assert [line.split()[0] for line in listed] == ["bytes", "out/deep/two.txt", "out/one.txt"]
    assert [each["size"] for each in json.loads(cli("artifacts", "maker", "--json").out)] == [4, 4, 4]
    assert cli("artifacts", "maker", "bytes").raw == b"\x00\xff\n\x01"
    assert cli("artifacts", "maker", "bytes", "--output", "-").raw == b"\x00\xff\n\x01"
    fetched = cli("artifacts", "maker", "--output", "here")
    assert fetched.out.splitlines() == ["here/bytes", "here/out/deep/two.txt", "here/out/one.txt"]
    assert (cli.folder / "here/out/deep/two.txt").read_text() == "two\n"
    assert sorted(path.name for path in (cli.folder / "here").rglob("*") if path.is_file()) == [
        "bytes", "one.txt", "two.txt",
    ]  # fmt: skip
    unknown = cli("artifacts", "maker", "nothing")
    assert (unknown.status, unknown.out, unknown.err) == (2, "", "taskrunner: maker has no artifact nothing\n")


def test_an_artifact_is_not_fetched_through_a_link_out_of_the_folder(cli: CommandLine) -> None:
    cli("run", "--task", cli.task("maker", MAKE, TWO))
    target, elsewhere = cli.folder / "target", cli.folder / "elsewhere"
    target.mkdir()
    elsewhere.mkdir()
    (target / "out").symlink_to(elsewhere)
    ended = cli("artifacts", "maker", "--output", "target")
    assert ended.status == 2
    assert "leads out of" in ended.err
    assert list(elsewhere.iterdir()) == []


def test_a_damaged_artifact_is_an_error_and_leaves_no_file(cli: CommandLine) -> None:
    cli("run", "--task", cli.task("maker", MAKE, TWO))
    [data] = (cli.folder / "home/artifacts/maker/0/data").glob("*-bytes")
    data.chmod(0o600)
    data.write_bytes(b"\x00\xff\n\x02")
    ended = cli("artifacts", "maker", "bytes", "--output", "here")
    assert ended.status == 2
    assert "SHA-256" in ended.err
    assert list((cli.folder / "here").iterdir()) == []
