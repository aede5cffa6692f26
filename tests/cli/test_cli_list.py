"""Finding tasks: selections, beginnings of ids, and a queue that is not there."""

from __future__ import annotations

import json

import pytest

from tests.support.command_line import CommandLine

READERS = [["list"], ["show", "x"], ["logs", "x"], ["artifacts", "x"], ["wait", "x"], ["cancel", "x"], ["retry", "x"]]


def ids(cli: CommandLine, *options: str) -> list[str]:
    return sorted(task["task_id"] for task in json.loads(cli("list", "--json", *options).out))


@pytest.fixture
def tasks(cli: CommandLine) -> CommandLine:
    for task_id, name, script, meta in (
        ("night-1", "nightly web", "true", 'branch = "main"\nbuild = 7'),
        ("night-2", "nightly api", "exit 1", 'branch = "next"'),
        ("day", "web", "true", ""),
    ):
        cli("submit", cli.task(task_id, script, f'name = "{name}"\n[metadata]\n{meta}'))
    assert cli("run", "--max-tasks", "2").status == 0
    cli("submit", "--force", "-", stdin='id = "broken"\nplatform = 7\nname = ["x"]\nmetadata = 1\n')
    return cli


def test_list_selects_by_state_name_platform_and_metadata(tasks: CommandLine) -> None:
    assert ids(tasks, "--state", "pending") == ["broken", "day"]
    assert ids(tasks, "--state", "resolved") == ["night-1", "night-2"]
    assert ids(tasks, "--state", "failed") == ["night-2"]
    assert ids(tasks, "--name", "nightly *") == ["night-1", "night-2"]
    assert ids(tasks, "--name", "web") == ["day"]
    assert ids(tasks, "--platform", "process") == ["day", "night-1", "night-2"]
    assert ids(tasks, "--meta", "branch=main", "--meta", "build=7") == ["night-1"]
    assert ids(tasks, "--meta", "branch=main", "--meta", "build=8") == []
    assert ids(tasks, "--platform", "process", "--limit", "1") == ["day"]
    none = tasks("list", "--state", "exception")
    assert (none.status, none.out) == (0, "")
    assert "there are no such tasks in sqlite://" in none.err
    assert tasks("list", "--meta", "branch").status == 2


def test_list_prints_columns_with_age_platform_and_name(tasks: CommandLine) -> None:
    lines = tasks("list").out.splitlines()
    assert [line.split()[0] for line in lines] == ["broken", "day", "night-2", "night-1"]
    assert lines[2].endswith("  process  nightly api")
    assert len({line.index("runs ") for line in lines}) == 1


def test_readers_take_the_beginning_of_an_id_and_those_who_change_something_do_not(tasks: CommandLine) -> None:
    assert "night-2 (nightly api): failed" in tasks("show", "night-2").out
    assert "day (web): pending" in tasks("show", "da").out
    assert "day  " not in tasks("wait", "night-1").out
    assert "exit code 1" in tasks("logs", "night-2").out
    several = tasks("show", "night")
    assert (several.status, several.out) == (2, "")
    assert "several ids begin so: night-1, night-2" in several.err
    for verb in ("cancel", "retry"):
        refused = tasks(verb, "da")
        assert (refused.status, refused.out) == (2, "")
        assert "write the whole id, such as day" in refused.err
    assert ids(tasks, "--state", "pending") == ["broken", "day"]
    assert tasks("show", "d*").status == 2


@pytest.mark.parametrize("call", READERS, ids=lambda call: call[0])
def test_a_misspelt_home_or_queue_is_told_and_not_made(cli: CommandLine, call: list[str]) -> None:
    ended = cli(*call)
    assert (ended.status, ended.out) == (2, "")
    assert f"there is no queue {cli.folder}/home/queue.db" in ended.err
    ended = cli(*call, "--queue", f"sqlite://{cli.folder}/other/tasks.db")
    assert ended.status == 2
    assert f"there is no queue {cli.folder}/other/tasks.db" in ended.err
    assert list(cli.folder.iterdir()) == []


def test_completion_completes_verbs_and_options(cli: CommandLine) -> None:
    cli.env |= {"_TASKRUNNER_COMPLETE": "bash_complete", "COMP_WORDS": "taskrunner su", "COMP_CWORD": "1"}
    assert "plain,submit" in cli().out
    cli.env |= {"COMP_WORDS": "taskrunner submit --", "COMP_CWORD": "2"}
    assert "plain,--check" in cli().out
