"""Stopping a worker, and cancelling a task: it ends at once where it is to, and leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.e2e import Bench
from tests.support.gate import Gate
from tests.support.githttp import GitServer, commit, make_repository
from tests.support.registry import registry


@pytest.fixture
def slow(repositories: Path, bench: Bench) -> str:
    """The name of a repository whose build sleeps until it is stopped."""
    name = f"slow-{bench.token}"
    make_repository(repositories / name, {"Dockerfile": f"FROM taskrunner-base\nRUN sleep {bench.token}\n"})
    return name


@pytest.fixture
def gated_registry(tmp_path: Path) -> Iterator[Gate]:
    """A registry, behind a network that stalls once an image's first layer comes."""
    with registry(tmp_path / "registry") as behind:
        host, _, port = behind.host.partition(":")
        with Gate((host, int(port)), tmp_path) as gate:
            gate.hold(rb"POST /v2/[^ ]+/blobs/uploads/")
            yield gate


# ---- stopping the worker ----------------------------------------------------------------------------------


def test_the_first_term_finishes_what_runs_and_takes_nothing_else(bench: Bench) -> None:
    go = bench.folder / "go"
    first = bench.submit(bench.process(f"while [ ! -e {go} ]; do sleep 0.01; done; echo finished"))
    second = bench.submit(bench.process("true", id="second"))
    worker = bench.worker()
    bench.reaches(first, "running")
    worker.terminate()
    worker.sees("stops: SIGTERM")
    go.touch()
    assert worker.ends() == 0
    assert bench.endings(first) == ["completed"]
    assert "finished" in bench.log(first)
    assert bench.status(second).state == "pending"
    assert bench.left() == []


@pytest.mark.parametrize("kind", ["process", "container", "build"])
def test_the_second_term_hands_the_run_back_and_the_next_worker_finishes_it(
    bench: Bench, git: GitServer, repositories: Path, slow: str, kind: str
) -> None:
    script = f'[ "$RUN_ID" = 1 ] || exec sleep {bench.token}'
    container = {"id": f"t{bench.token}", "platform": "docker", "image": "taskrunner-base"}
    documents = {
        "process": bench.process(script),
        "container": container | {"command": ["sh", "-c", script]},
        "build": bench.build(git.url(slow)),
    }
    task = bench.submit(documents[kind])
    worker = bench.worker()
    bench.sleeps()
    worker.terminate()
    worker.sees("stops: SIGTERM")
    worker.terminate()
    assert worker.ends() == 0
    assert bench.status(task).state == "pending"
    assert bench.endings(task) == ["exception (worker-shutdown)"]
    assert "the worker is stopping: SIGTERM" in bench.log(task).splitlines()[-1]
    assert bench.left() == []
    commit(repositories / slow, {"Dockerfile": "FROM taskrunner-base\nRUN echo quick\n"})
    bench.worker_ends()
    assert bench.endings(task)[1:] == ["completed"]
    assert bench.left() == []


# ---- cancelling a task ------------------------------------------------------------------------------------


def cancel(bench: Bench, task: str) -> None:
    said = bench.command("cancel", task, "--message", "superseded")
    assert (said.status, said.out) == (0, f"{task} is cancelled\n"), said


def is_canceled(bench: Bench, task: str, state: str) -> None:
    """It went from this state to its end because of the cancellation, and left nothing."""
    moves = [(record.state, record.event) for record in bench.records(task) if record.kind == "moved"]
    assert [moves[-3][0], *moves[-2:]] == [state, ("cleanup", "cancel"), ("resolved", "cleaned")]
    assert bench.endings(task) == ["exception (canceled)"]
    assert "superseded" in bench.log(task).splitlines()[-1]
    assert bench.left() == []


def test_a_process_tree_is_cancelled(bench: Bench) -> None:
    task = bench.submit(bench.process(f"setsid sleep {bench.token} & exec sleep {bench.token}"))
    worker = bench.worker("--max-tasks", "1")
    bench.sleeps()
    cancel(bench, task)
    assert worker.ends() == 0
    is_canceled(bench, task, "running")


def test_a_clone_is_cancelled_while_the_server_is_silent(bench: Bench, git: GitServer) -> None:
    git.stall_after = 0
    task = bench.submit(bench.build(git.url("web")))
    worker = bench.worker("--max-tasks", "1")
    assert git.stalled.wait(60)
    cancel(bench, task)
    assert worker.ends() == 0
    is_canceled(bench, task, "loading")


def test_a_build_is_cancelled_in_a_step(bench: Bench, git: GitServer, slow: str) -> None:
    task = bench.submit(bench.build(git.url(slow)))
    worker = bench.worker("--max-tasks", "1")
    bench.sleeps()
    cancel(bench, task)
    assert worker.ends() == 0
    is_canceled(bench, task, "running")


def test_a_push_is_cancelled_while_the_registry_is_silent(bench: Bench, git: GitServer, gated_registry: Gate) -> None:
    tag = f"{gated_registry.address}/team/app:{bench.token}"
    task = bench.submit(bench.build(git.url("web"), build={"tags": [tag], "push": True}))
    worker = bench.worker("--max-tasks", "1")
    gated_registry.wait_until_held()
    cancel(bench, task)
    assert worker.ends() == 0
    is_canceled(bench, task, "uploading")


def test_a_worker_killed_in_a_push_leaves_no_name_and_the_next_one_pushes(
    bench: Bench, git: GitServer, gated_registry: Gate
) -> None:
    tag = f"{gated_registry.address}/team/app:{bench.token}"
    task = bench.submit(bench.build(git.url("web"), build={"tags": [tag], "push": True}))
    first = bench.worker()
    gated_registry.wait_until_held()
    first.kill()
    gated_registry.open()
    bench.worker_ends()
    assert bench.endings(task) == ["exception (worker-shutdown)", "completed"]
    assert bench.left() == []
