"""Limits and numbers: runs that take too long, runs that are tried again, many tasks, and two workers on one home."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.e2e import Bench
from tests.support.githttp import GitServer, make_repository

TASKS = 40


def test_a_process_tree_is_killed_when_its_time_is_over(bench: Bench) -> None:
    script = f"echo kept > kept.txt; setsid sleep {bench.token} & exec sleep {bench.token}"
    task = bench.process(script, max_run_time=1, artifacts=[{"name": "kept.txt", "path": "kept.txt"}])
    ended = bench.run(task)
    assert ended.status == 1
    assert "it took longer than its max_run_time of 1 s and was stopped" in ended.out.splitlines()[-1]
    assert bench.endings(task["id"]) == ["failed (max-run-time)"]
    assert "kept.txt" in bench.command("show", task["id"]).out
    assert bench.left() == []


@pytest.mark.parametrize("kind", ["container", "build"])
def test_a_container_and_a_build_are_killed_when_their_time_is_over(
    bench: Bench, git: GitServer, repositories: Path, kind: str
) -> None:
    name = f"slow-{bench.token}"
    make_repository(repositories / name, {"Dockerfile": f"FROM taskrunner-base\nRUN sleep {bench.token}\n"})
    container = {"id": f"t{bench.token}", "platform": "docker", "image": "taskrunner-base", "max_run_time": 2}
    documents = {
        "container": container | {"command": ["sleep", bench.token]},
        "build": bench.build(git.url(name), max_run_time=2),
    }
    ended = bench.run(documents[kind])
    assert ended.status == 1
    assert "it took longer than its max_run_time of 2 s and was stopped" in ended.out.splitlines()[-1]
    assert bench.left() == []


def test_an_exit_code_that_asks_for_it_is_tried_again(bench: Bench) -> None:
    task = bench.process("[ $RUN_ID = 2 ] || exit 75", on_exit_status={"retry": [75]})
    ended = bench.run(task)
    assert ended.status == 0, ended
    assert bench.endings(task["id"]) == ["exception (intermittent-task)"] * 2 + ["completed"]
    assert bench.left() == []


def test_a_task_whose_deadline_has_passed_says_so(bench: Bench) -> None:
    ended = bench.run(bench.process("true", deadline="2024-01-01T00:00:00Z"))
    assert ended.status == 3
    assert "deadline-exceeded" in ended.everything


@pytest.mark.parametrize("workers", [1, 2])
def test_each_of_many_tasks_runs_once(bench: Bench, workers: int) -> None:
    diary = bench.folder / "diary"
    ids = [bench.submit(bench.process(f"echo $TASK_ID >> {diary}", id=f"task-{number}")) for number in range(TASKS)]
    started = [bench.worker("--until-empty", "--capacity", "4") for _ in range(workers)]
    assert [worker.ends() for worker in started] == [0] * workers
    assert all(bench.endings(name) == ["completed"] for name in ids)
    assert Counter(diary.read_text().split()) == Counter(ids)
    assert bench.left() == []
