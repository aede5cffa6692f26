"""Limits and numbers: runs that take too long, retries, many tasks, and two workers on one home."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.e2e import Site
from tests.support.githttp import GitServer, make_repository

TASKS = 40


def test_a_process_tree_is_killed_at_its_max_run_time(site: Site) -> None:
    script = f"echo kept > kept.txt; setsid sleep {site.token} & exec sleep {site.token}"
    task = site.process(script, max_run_time=3, artifacts=[{"name": "kept.txt", "path": "kept.txt"}])
    ended = site.run(task)
    assert ended.status == 1
    assert "it took longer than its max_run_time of 3 s and was stopped" in ended.out.splitlines()[-1]
    assert site.resolutions(task["id"]) == ["failed (max-run-time)"]
    assert "kept.txt" in site.command("show", task["id"]).out
    assert site.leftovers() == []


@pytest.mark.parametrize("kind", ["container", "build"])
def test_a_container_and_a_build_are_killed_at_their_max_run_time(
    site: Site, git: GitServer, repositories: Path, kind: str
) -> None:
    name = f"slow-{site.token}"
    make_repository(repositories / name, {"Dockerfile": f"FROM taskrunner-base\nRUN sleep {site.token}\n"})
    container = {"id": f"t{site.token}", "platform": "docker", "image": "taskrunner-base", "max_run_time": 2}
    documents = {
        "container": container | {"command": ["sleep", site.token]},
        "build": site.build(git.url(name), max_run_time=2),
    }
    ended = site.run(documents[kind])
    assert ended.status == 1
    assert "it took longer than its max_run_time of 2 s and was stopped" in ended.out.splitlines()[-1]
    assert site.leftovers() == []


def test_a_run_with_a_listed_exit_code_is_retried(site: Site) -> None:
    task = site.process("[ $RUN_ID = 2 ] || exit 75", on_exit_status={"retry": [75]})
    ended = site.run(task)
    assert ended.status == 0, ended
    assert site.resolutions(task["id"]) == ["exception (intermittent-task)"] * 2 + ["completed"]
    assert site.leftovers() == []


def test_a_task_past_its_deadline_is_an_exception(site: Site) -> None:
    ended = site.run(site.process("true", deadline="2024-01-01T00:00:00Z"))
    assert ended.status == 3
    assert "deadline-exceeded" in ended.everything


@pytest.mark.parametrize("workers", [1, 2])
def test_each_of_many_tasks_runs_once(site: Site, workers: int) -> None:
    diary = site.folder / "diary"
    ids = [site.submit(site.process(f"echo $TASK_ID >> {diary}", id=f"task-{number}")) for number in range(TASKS)]
    started = [site.worker("--until-empty", "--capacity", "4") for _ in range(workers)]
    assert [worker.wait() for worker in started] == [0] * workers
    assert all(site.resolutions(name) == ["completed"] for name in ids)
    assert Counter(diary.read_text().split()) == Counter(ids)
    assert site.leftovers() == []
