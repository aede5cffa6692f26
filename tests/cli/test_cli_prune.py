"""`taskrunner prune`, and what the other verbs say afterwards."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from taskrunner.model import Claim, RunKey
from taskrunner.state.journal import Journal
from taskrunner.state.journal_reader import pruned_at, read_journal
from taskrunner.state.run_folder import RunFolder
from tests.support.command_line import CommandLine, open_gate

ARTIFACT = '[[artifacts]]\nname = "public/made.txt"\npath = "made.txt"\n'
DAY = 86400


@pytest.fixture
def home(cli: CommandLine) -> Path:
    return cli.folder / "home"


def configure(cli: CommandLine, **rules: float) -> None:
    lines = "\n".join(f"{key} = {value}" for key, value in rules.items())
    (cli.folder / "taskrunner.toml").write_text(f"[retention]\n{lines}\n")


def run(cli: CommandLine, *task_ids: str, days_ago: float = 0) -> None:
    """Runs tasks to their end, and dates their journals back."""
    for task_id in task_ids:
        assert cli("run", "--task", cli.task(task_id, "echo said; echo hi > made.txt", ARTIFACT)).status == 0
        at = time.time() - days_ago * DAY
        os.utime(cli.run_log(task_id, "journal.jsonl"), (at, at))


def test_without_rules_nothing_is_removed(cli: CommandLine) -> None:
    refused = cli("prune")
    assert refused.status == 2
    assert "add [retention]" in refused.err


def test_an_old_run_loses_its_log_and_artifacts_and_every_verb_says_so(cli: CommandLine, home: Path) -> None:
    run(cli, "old", days_ago=40)
    run(cli, "new", days_ago=20)
    configure(cli, run_days=30)
    planned = cli("prune", "--dry-run")
    assert planned.status == 0
    assert planned.out.splitlines()[0].startswith("log and artifacts of old/0, which ended 20")
    assert planned.out.splitlines()[-1].startswith("would remove logs and artifacts of 1 runs (")
    assert cli("logs", "old").status == 0
    pruned = cli("prune")
    assert (pruned.status, pruned.err) == (0, "")
    assert pruned.out.splitlines()[-1].startswith("removed logs and artifacts of 1 runs (")
    assert [path.name for path in (home / "runs/old/0").iterdir()] == ["journal.jsonl"]
    assert not (home / "artifacts/old").exists()

    shown = cli("show", "old").out
    assert "old: completed" in shown
    assert "  uploading" in shown
    assert "  its log and artifacts were removed on 20" in shown
    assert cli.show("old")["runs"][0]["pruned"]
    for verb in (["logs", "old"], ["logs", "old", "-f"]):
        said = cli(*verb)
        assert (said.status, said.out) == (1, "")
        assert "has no log: removed on 20" in said.err
    for verb, status in ((["artifacts", "old"], 1), (["artifacts", "old", "public/made.txt"], 2)):
        said = cli(*verb)
        assert (said.status, said.out) == (status, "")
        assert ": removed on 20" in said.err
    [new, old] = cli("list").out.splitlines()
    assert "runs 1, pruned  completed" in old
    assert "pruned" not in new
    assert cli("logs", "new").status == 0
    assert cli("artifacts", "new", "public/made.txt").out == "hi\n"
    assert cli("prune").out == "removed nothing\n"


def test_a_forgotten_task_leaves_nothing_and_its_id_can_be_used_again(cli: CommandLine, home: Path) -> None:
    run(cli, "hello", days_ago=1)
    configure(cli, task_days=0)
    assert cli("prune").out.splitlines()[-1].endswith(", 1 tasks, the states of 1 runs")
    assert list((home / "runs").iterdir()) == [home / "runs/.pruned"]
    assert list((home / "artifacts").iterdir()) == [home / "artifacts/.deleted"]
    assert cli("list").out == ""
    said = cli("show", "hello")
    assert said.status == 2
    assert "there is no task 'hello'; those that ended before 20" in said.err
    configure(cli, task_days=30)  # with 0 days the worker may forget the next run before its result is read
    assert cli("run", "--task", cli.task("hello", "echo again")).status == 0
    assert "again" in cli("logs", "hello").out


def test_what_is_pending_or_running_or_was_retried_stays(cli: CommandLine) -> None:
    run(cli, "again", days_ago=40)
    gate = cli.gate()
    cli("submit", cli.task("slow", f"echo begun; read x < {gate}"))
    with cli.start("run", "--max-tasks", "1") as worker:
        worker.until("slow/0  running")
        os.utime(cli.run_log("slow", "journal.jsonl"), (1, 1))
        cli("retry", "again")
        cli("submit", cli.task("waiting", "true"))
        configure(cli, run_days=0, run_bytes=0, task_days=0, cache_days=0, cache_bytes=0)
        assert cli("prune").out == "removed nothing\n"
        assert "begun" in cli("logs", "slow").out
        assert "said" in cli("logs", "again").out
        open_gate(gate)
        assert worker.end() == 0
    assert [cli.show(task_id)["state"] for task_id in ("slow", "again", "waiting")] == [
        "resolved",
        "pending",
        "pending",
    ]


def test_a_size_removes_the_runs_that_ended_first(cli: CommandLine) -> None:
    for days, task_id in enumerate(["third", "second", "first"]):
        run(cli, task_id, days_ago=days + 1)
    files = [path for path in cli.run_log("third").parent.iterdir() if path.name != "journal.jsonl"]
    size = sum(path.stat().st_size for path in files) + len("hi\n")
    configure(cli, run_bytes=2 * size + 40)  # names differ in length
    assert cli("prune").status == 0
    assert [cli("logs", task_id).status for task_id in ("first", "second", "third")] == [1, 0, 0]
    configure(cli, run_bytes=0)
    assert cli("prune").status == 0
    assert [cli("logs", task_id).status for task_id in ("first", "second", "third")] == [1, 1, 1]


def test_a_run_of_a_worker_that_was_killed_stays_until_it_is_recovered(cli: CommandLine) -> None:
    cli("submit", cli.task("slow", f"read x < {cli.gate()}", "retries = 0"))
    with cli.start("run") as worker:
        worker.until("slow/0  running")
        worker.signal(signal.SIGSTOP)
        cli("cancel", "slow")  # so that the queue knows it as resolved
        worker.process.kill()
        worker.process.wait()
    journal = cli.run_log("slow", "journal.jsonl")
    os.utime(journal, (1, 1))
    configure(cli, run_days=0, task_days=0)
    cli("prune")
    assert cli.run_log("slow").exists()
    (cli.folder / "taskrunner.toml").unlink()
    assert cli("run", "--until-empty").status == 0
    os.utime(journal, (1, 1))
    configure(cli, run_days=0, task_days=0)
    assert cli("prune").status == 0
    assert not journal.exists()


def test_a_prune_that_is_killed_leaves_no_run_that_nothing_explains(cli: CommandLine, home: Path) -> None:
    count = 40
    for n in range(count):
        make_run(home, f"t{n}")
    configure(cli, run_days=30)
    for killed_after in (1, 3, 7):
        with cli.start("prune") as pruning:
            for _ in range(killed_after):
                pruning.until("log and artifacts of", stream="stdout")
            pruning.process.kill()
        left = 0
        for n in range(count):
            folder = RunFolder(home, RunKey(f"t{n}", 0))
            marked = pruned_at(read_journal(folder.journal)) is not None
            assert marked or folder.log.exists()
            assert marked or (home / f"artifacts/t{n}/0/data").exists()
            left += folder.log.exists()
        assert 0 < left < count
    assert cli("prune").status == 0
    assert [path.name for path in home.glob("runs/t*/0/*")] == ["journal.jsonl"] * count
    assert not list(home.glob("artifacts/*/*"))


def make_run(home: Path, task_id: str) -> None:
    """A run that ended long ago, with a log and an artifact."""
    folder = RunFolder(home, RunKey(task_id, 0))
    journal = Journal.create(folder, Claim(task_id, 0, {}, "gone", "token"))
    journal.moved("resolved", "cleaned")
    journal.close()
    folder.log.write_bytes(b"a line\n")
    os.utime(folder.journal, (1, 1))
    data = home / f"artifacts/{task_id}/0/data"
    data.mkdir(parents=True)
    (data / "0123-a").write_bytes(b"a")


def test_a_worker_with_rules_prunes_when_it_starts(cli: CommandLine, home: Path) -> None:
    run(cli, "old", days_ago=40)
    configure(cli, run_days=30)
    with cli.start("run") as worker:
        worker.until("tasks from")
        while cli.run_log("old").exists():
            assert worker.process.poll() is None
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0
    assert not any("retention" in line for line in worker.lines)


def test_unused_caches_are_removed_and_others_stay(cli: CommandLine, home: Path) -> None:
    cache = '[[caches]]\nname = "{}"\npath = "c"\n'
    for name in ("old", "used"):
        assert cli("run", "--task", cli.task(name, "echo x > c/file", cache.format(name))).status == 0
    os.utime(home / "caches/process/old/1.lock", (1, 1))
    mirror = home / "engine-caches/git-abc"
    (mirror / "1").mkdir(parents=True)
    (mirror / "1.lock").touch()
    os.utime(mirror / "1.lock", (1, 1))
    configure(cli, cache_days=30)
    assert cli("prune", "--dry-run").out == "would remove 2 caches\n"
    assert cli("prune").out == "removed 2 caches\n"
    assert not (home / "caches/process/old/1").exists()
    assert not (mirror / "1").exists()
    assert (home / "caches/process/used/1/file").exists()


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        ("run_days = -1", "retention.run_days"),
        ('run_days = "a month"', "retention.run_days"),
        ("run_days = nan", "retention.run_days"),
        ("run_bytes = 1.5", "retention.run_bytes"),
        ("days = 3", "retention.days"),
    ],
)
def test_mistakes_in_the_rules_are_named(cli: CommandLine, rules: str, complaint: str) -> None:
    (cli.folder / "taskrunner.toml").write_text(f"[retention]\n{rules}\n")
    refused = cli("prune")
    assert refused.status == 2
    assert complaint in refused.err


def test_config_check_prints_the_rules(cli: CommandLine) -> None:
    configure(cli, run_days=30, run_bytes=50_000_000_000)
    assert "[retention]\nrun_days = 30.0\nrun_bytes = 50000000000\n" in cli("config", "check").out
    assert json.loads(cli("list", "--json").out) == []
