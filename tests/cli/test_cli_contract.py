"""The contract with scripts: output and exit status."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from taskrunner.model import RunKey
from taskrunner.state.journal import Journal
from taskrunner.state.leftovers import forget_leftover, note_leftover
from taskrunner.state.run_folder import RunFolder
from tests.support.command_line import CommandLine

ARTIFACT = '[[artifacts]]\nname = "public/made.txt"\npath = "made.txt"\n'
NO_HOST = (
    "has a host that is none: brackets are for an IPv6 address, as in [::1]:80 "
    "(write a URL: sqlite:///var/lib/taskrunner/queue.db)"
)
MALFORMED = 'id = "wrong"\nplatform = "process"\ncommand = "rm"\nretries = -1\ncolour = "red"\n'


def test_submit_prints_the_id_alone_and_again_the_same(cli: CommandLine) -> None:
    path = cli.task("hello", "true")
    for _ in range(2):
        ended = cli("submit", path)
        assert (ended.status, ended.out, ended.err) == (0, "hello\n", "")
    cli.task("hello", "false")
    ended = cli("submit", path)
    assert (ended.status, ended.out) == (2, "")
    assert "hello" in ended.err


@pytest.mark.parametrize(
    "document",
    ['platform = "process"\ncommand = ["true"]', "# a task\nplatform: process\ncommand: ['true']",
     '{"platform": "process", "command": ["true"]}'],
    ids=["toml", "yaml", "json"],
)  # fmt: skip
def test_a_task_is_read_from_stdin_in_any_format_and_gets_an_id(cli: CommandLine, document: str) -> None:
    ended = cli("submit", "-", stdin=document)
    assert (ended.status, ended.err) == (0, "")
    assert cli.show(ended.out.strip())["state"] == "pending"


def test_show_json_has_the_documented_form(cli: CommandLine) -> None:
    assert cli("run", "--task", cli.task("hello", "echo hi > made.txt", ARTIFACT)).status == 0
    shown = cli.show("hello")
    assert {key: shown[key] for key in ("task_id", "state", "resolution", "reason")} == {
        "task_id": "hello", "state": "resolved", "resolution": "completed", "reason": None,
    }  # fmt: skip
    [run] = shown["runs"]
    assert {
        "run_id",
        "worker_id",
        "started",
        "resolved",
        "resolution",
        "reason",
        "exit_code",
        "result",
        "story",
        "notes",
        "left_behind",
        "still_left",
    } <= set(run)
    assert (run["run_id"], run["resolution"], run["exit_code"], run["result"]) == (0, "completed", 0, {})
    states = ["claimed", "loading", "running", "uploading", "cleanup", "resolved"]
    assert [step["state"] for step in run["story"]] == states
    assert all(datetime.fromisoformat(step["at"]) and step["event"] for step in run["story"])
    [artifact] = shown["artifacts"]
    assert (artifact["name"], artifact["size"], len(artifact["sha256"])) == ("public/made.txt", 3, 64)
    [listed] = json.loads(cli("list", "--json").out)
    assert (listed["task_id"], listed["resolution"]) == ("hello", "completed")


def test_a_pending_task_is_shown_too(cli: CommandLine) -> None:
    cli("submit", cli.task("later", "true"))
    shown = cli.show("later")
    assert (shown["state"], shown["resolution"], shown["runs"], shown["artifacts"]) == ("pending", None, [], [])
    assert "later: pending" in cli("show", "later").out


def test_run_task_exits_as_the_task_ended(cli: CommandLine) -> None:
    completed = cli("run", "--task", cli.task("good", "echo said; printf unfinished"))
    assert completed.status == 0
    assert "said\nunfinished\n[taskrunner] completed" in completed.out
    assert "good/0  completed after" in completed.err.splitlines()[-1]
    failed = cli("run", "--task", cli.task("bad", "exit 3"))
    assert failed.status == 1
    assert "exit code 3" in failed.err
    assert cli.show("bad")["runs"][0]["exit_code"] == 3
    again = cli("run", "--task", cli.task("bad", "exit 3"))
    assert again.status == 1
    assert "taskrunner retry bad" in again.err


def test_a_failure_is_told_once_to_who_reads_both_streams_as_one(cli: CommandLine) -> None:
    ended = cli.as_one_stream("run", "--task", cli.task("bad", "exit 3"))
    assert ended.out.count("the command ended with exit code 3") == 1
    assert "bad/0  failed (exit-code) after" in ended.out


def test_a_malformed_task_gets_every_complaint_at_once_everywhere(cli: CommandLine) -> None:
    refused = cli("submit", "-", stdin=MALFORMED)
    assert (refused.status, refused.out) == (2, "")
    assert not (cli.folder / "home").exists()
    submitted = cli("submit", "--force", "-", stdin=MALFORMED)
    assert (submitted.status, submitted.out) == (0, "wrong\n")
    ended = cli("run", "--task", "-", stdin=MALFORMED)
    assert ended.status == 3
    for text in (refused.err, submitted.err, ended.err, ended.out, cli("logs", "wrong").out, cli("show", "wrong").out):
        assert "command: expected a list, got a text (write a list" in text
        assert "retries: must be at least 0" in text
        assert "colour: is not known here" in text
    assert cli.show("wrong")["reason"] == "malformed-payload"


@pytest.mark.parametrize("verb", ["show", "logs", "artifacts", "cancel", "retry", "wait"])
def test_an_unknown_id_is_an_error_of_one_line(cli: CommandLine, verb: str) -> None:
    cli("submit", cli.task("hello", "true"))
    ended = cli(verb, "unknown")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == "taskrunner: there is no task 'unknown'\n"


def test_a_file_that_cannot_be_queued_is_refused(cli: CommandLine) -> None:
    for name, text in [("task.toml", "platform = "), ("task.txt", ""), ("list.json", "[]")]:
        (cli.folder / name).write_text(text)
        for arguments in (["submit", name], ["run", "--task", name]):
            ended = cli(*arguments)
            assert (ended.status, ended.out) == (2, "")
            assert name in ended.err


def test_the_queue_is_chosen_by_its_url(cli: CommandLine) -> None:
    queue = f"sqlite://{cli.folder}/other.db"
    cli("submit", cli.task("hello", "true"), "--queue", queue)
    assert cli("show", "hello").status == 2
    assert cli("run", "--until-empty", "--queue", queue).status == 0
    assert "hello: completed" in cli("show", "hello", "--queue", queue).out
    bad = cli("show", "hello", "--queue", "sqlite://other.db")
    assert bad.status == 2
    assert "queue" in bad.err


def test_cancel_and_retry_say_what_they_did(cli: CommandLine) -> None:
    cli("submit", cli.task("hello", "true"))
    retried = cli("retry", "hello")
    assert (retried.status, "pending" in retried.out) == (1, True)
    assert cli("cancel", "hello", "--message", "not any more").status == 0
    assert "exception (canceled)" in cli("cancel", "hello").out
    assert cli("cancel", "hello").status == 1
    assert "not any more" in cli("show", "hello").out
    assert cli("wait", "hello").status == 3
    assert cli("retry", "hello").out == "hello is pending again\n"
    assert cli("run", "--until-empty").status == 0
    assert cli("wait", "hello").status == 0


def test_wait_exits_as_the_worst_task_and_stops_at_its_timeout(cli: CommandLine) -> None:
    for task_id, script in (("good", "true"), ("bad", "exit 1")):
        cli("submit", cli.task(task_id, script))
    assert cli("wait", "good", "--timeout", "0").status == 124
    with cli.start("wait", "good", "bad") as waiting:
        assert cli("run", "--until-empty", "--capacity", "2").status == 0
        assert waiting.end() == 1
        assert sorted(line.split("  ")[1] for line in waiting.lines) == ["completed", "failed (exit-code)"]


def test_list_json_has_what_the_queue_knows_and_no_more(cli: CommandLine) -> None:
    assert cli("run", "--task", cli.task("hello", "echo hi > made.txt", ARTIFACT)).status == 0
    [listed] = json.loads(cli("list", "--json").out)
    shown = cli.show("hello")
    assert shown.pop("artifacts")
    run = shown["runs"][0]
    assert run.pop("story")
    assert (run.pop("notes"), run.pop("left_behind"), run.pop("still_left")) == ([], [], [])
    assert run.pop("pruned") is None
    assert listed == shown


def test_show_says_what_a_run_has_left_until_it_is_gone(cli: CommandLine) -> None:
    assert cli("run", "--task", cli.task("hello", "true")).status == 0
    run, home = RunKey("hello", 0), cli.folder / "home"
    journal = Journal.reopen(RunFolder(home, run))
    journal.left(["the container cannot be removed: no answer"])
    journal.close()
    note_leftover(home, "w1", run, "docker", ["the container cannot be removed: busy"])
    assert cli.show("hello")["runs"][0]["still_left"] == ["the container cannot be removed: busy"]
    assert "  left behind: the container cannot be removed: no answer\n  still there: " in cli("show", "hello").out
    forget_leftover(home, "w1", run)
    shown = cli.show("hello")["runs"][0]
    assert (len(shown["left_behind"]), shown["still_left"]) == (1, [])
    assert "no answer\n  removed since\n" in cli("show", "hello").out


def test_a_closed_stdin_is_an_error(cli: CommandLine) -> None:
    ended = cli.closed("0", "submit", "-")
    assert (ended.status, ended.out) == (2, "")
    assert "stdin: is closed" in ended.err


@pytest.mark.parametrize("verb", ["logs", "submit", "artifacts"])
def test_what_nobody_would_get_is_refused_before_it_is_done(cli: CommandLine, verb: str) -> None:
    assert cli("run", "--task", cli.task("hello", "echo hi > made.txt", ARTIFACT)).status == 0
    arguments = {"logs": ["hello"], "submit": [cli.task("new", "true")], "artifacts": ["hello", "public/made.txt"]}
    ended = cli.closed("1", verb, *arguments[verb])
    assert (ended.status, "stdout is closed" in ended.err) == (2, True)
    assert cli("show", "new").status == 2


def test_a_file_does_not_get_the_number_of_a_closed_stream(cli: CommandLine) -> None:
    cli("submit", cli.task("hello", "true"))
    assert cli.closed("1", "run", "--until-empty").status == 0
    assert cli.show("hello")["resolution"] == "completed"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["states", "task"], ["list"], ["logs", "hello"]])
def test_a_full_disk_under_stdout_is_one_line(cli: CommandLine, arguments: list[str]) -> None:
    assert cli("run", "--task", cli.task("hello", "echo said")).status == 0
    ended = cli.to_full_disk(*arguments)
    assert (ended.status, ended.err) == (4, "taskrunner: this machine: No space left on device\n")


@pytest.mark.parametrize(
    ("verb", "url"),
    [
        ("run", "https://[::1"),
        ("config check", "agent://[::1"),
        ("serve", "sqlite://["),
        ("list", "http://\N{ACCOUNT OF}.example"),
    ],
)
def test_a_queue_whose_host_is_none_is_one_line(cli: CommandLine, verb: str, url: str) -> None:
    ended = cli(*verb.split(), "--queue", url)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == f"taskrunner: --queue: {NO_HOST}\n"


def test_a_place_to_listen_whose_host_is_none_is_one_line(cli: CommandLine) -> None:
    ended = cli("serve", "--listen", "http://[::1")
    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    assert "--listen is http://HOST:PORT" in ended.err


def test_a_server_whose_port_is_none_is_one_line(cli: CommandLine) -> None:
    ended = cli("list", "--queue", "http://host:80:90")
    assert (ended.status, ended.err) == (
        2, "taskrunner: --queue: the URL is that of no server (Invalid port: '80:90'): write http://HOST:PORT\n",
    )  # fmt: skip


def test_a_misspelt_verb_gets_the_near_one(cli: CommandLine) -> None:
    ended = cli("statu")
    assert ended.status == 2
    assert "Did you mean status?" in ended.err or "Did you mean states?" in ended.err
    assert "Did you mean" not in cli("qqqq").err


def test_a_file_without_its_flag_gets_a_hint(cli: CommandLine) -> None:
    for call in (["run", "hello.toml"], ["hello.toml"]):
        ended = cli(*call)
        assert ended.status == 2
        assert "To run one task: run --task hello.toml" in ended.err


@pytest.mark.parametrize("arguments", [["run", "--idle-timeout", "nan"], ["wait", "x", "--timeout", "nan"]])
def test_what_is_no_number_of_seconds_is_refused(cli: CommandLine, arguments: list[str]) -> None:
    ended = cli(*arguments)
    assert ended.status == 2
    assert "'nan' is no number of seconds" in ended.err


def test_an_empty_list_names_its_queue(cli: CommandLine) -> None:
    assert cli("run", "--until-empty").status == 0  # which makes the queue
    ended = cli("list")
    assert (ended.status, ended.out) == (0, "")
    assert ended.err == f"taskrunner: there are no tasks in sqlite://{cli.folder}/home/queue.db\n"
    assert cli("list", "--json").out == "[]\n"


def test_cancel_and_retry_take_several_tasks(cli: CommandLine) -> None:
    for task_id in ("one", "two", "three"):
        cli("submit", cli.task(task_id, "true"))
    unknown = cli("cancel", "one", "nothing")
    assert (unknown.status, unknown.out) == (2, "")
    assert cli("cancel", "one", "two", "one").out == "one is cancelled\ntwo is cancelled\n"
    again = cli("cancel", "one", "three")
    assert (again.status, again.out.splitlines()[1]) == (1, "three is cancelled")
    assert cli("retry", "one", "two", "three").status == 0
    assert {task["state"] for task in json.loads(cli("list", "--json").out)} == {"pending"}


def test_what_the_author_wrote_about_the_task_is_shown(cli: CommandLine) -> None:
    extra = 'name = "a title"\npriority = 7\nmetadata = { branch = "main" }'
    cli("submit", cli.task("hello", "true", extra))
    shown = cli.show("hello")
    [listed] = json.loads(cli("list", "--json").out)
    for each in (shown, listed):
        assert (each["name"], each["platform"], each["priority"]) == ("a title", "process", 7)
        assert each["metadata"] == {"branch": "main"}
    text = cli("show", "hello").out
    assert '\nplatform process, priority 7\nmetadata {"branch": "main"}\n' in text
