"""Stopping a worker and cancelling a task: both end in time and leave nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.e2e import Site
from tests.support.gate import Gate
from tests.support.githttp import GitServer, commit, make_repository
from tests.support.registry import registry


@pytest.fixture
def slow(repositories: Path, site: Site) -> str:
    """The name of a repository whose build sleeps until it is stopped."""
    name = f"slow-{site.token}"
    make_repository(repositories / name, {"Dockerfile": f"FROM taskrunner-base\nRUN sleep {site.token}\n"})
    return name


@pytest.fixture
def gated_registry(tmp_path: Path) -> Iterator[Gate]:
    """A registry behind a network that stalls at the first layer of an image."""
    with registry(tmp_path / "registry") as behind:
        host, _, port = behind.host.partition(":")
        with Gate((host, int(port)), tmp_path) as gate:
            gate.hold(rb"POST /v2/[^ ]+/blobs/uploads/")
            yield gate


# ---- stopping the worker ----------------------------------------------------------------------------------


def test_after_the_first_term_the_worker_finishes_its_run_and_claims_nothing(site: Site) -> None:
    go = site.folder / "go"
    first = site.submit(site.process(f"while [ ! -e {go} ]; do sleep 0.01; done; echo finished"))
    second = site.submit(site.process("true", id="second"))
    worker = site.worker()
    site.wait_for_state(first, "running")
    worker.terminate()
    worker.wait_for_output("stops: SIGTERM")
    go.touch()
    assert worker.wait() == 0
    assert site.resolutions(first) == ["completed"]
    assert "finished" in site.log(first)
    assert site.status(second).state == "pending"
    assert site.leftovers() == []


@pytest.mark.parametrize("kind", ["process", "container", "build"])
def test_after_the_second_term_the_run_is_handed_back_and_the_next_worker_finishes_it(
    site: Site, git: GitServer, repositories: Path, slow: str, kind: str
) -> None:
    script = f'[ "$RUN_ID" = 1 ] || exec sleep {site.token}'
    container = {"id": f"t{site.token}", "platform": "docker", "image": "taskrunner-base"}
    documents = {
        "process": site.process(script),
        "container": container | {"command": ["sh", "-c", script]},
        "build": site.build(git.url(slow)),
    }
    task = site.submit(documents[kind])
    worker = site.worker()
    site.wait_for_sleep()
    worker.terminate()
    worker.wait_for_output("stops: SIGTERM")
    worker.terminate()
    assert worker.wait() == 0
    assert site.status(task).state == "pending"
    assert site.resolutions(task) == ["exception (worker-shutdown)"]
    assert "the worker is stopping: SIGTERM" in site.log(task).splitlines()[-1]
    assert site.leftovers() == []
    commit(repositories / slow, {"Dockerfile": "FROM taskrunner-base\nRUN echo quick\n"})
    site.run_worker()
    assert site.resolutions(task)[1:] == ["completed"]
    assert site.leftovers() == []


# ---- cancelling a task ------------------------------------------------------------------------------------


def cancel(site: Site, task: str) -> None:
    said = site.command("cancel", task, "--message", "superseded")
    assert (said.status, said.out) == (0, f"{task} is cancelled\n"), said


def assert_canceled(site: Site, task: str, state: str) -> None:
    """The cancellation led the task from this state to its end, and nothing is left."""
    moves = [(record.state, record.event) for record in site.records(task) if record.kind == "moved"]
    assert [moves[-3][0], *moves[-2:]] == [state, ("cleanup", "cancel"), ("resolved", "cleaned")]
    assert site.resolutions(task) == ["exception (canceled)"]
    assert "superseded" in site.log(task).splitlines()[-1]
    assert site.leftovers() == []


def test_a_process_tree_is_cancelled(site: Site) -> None:
    task = site.submit(site.process(f"setsid sleep {site.token} & exec sleep {site.token}"))
    worker = site.worker("--max-tasks", "1")
    site.wait_for_sleep()
    cancel(site, task)
    assert worker.wait() == 0
    assert_canceled(site, task, "running")


def test_a_clone_is_cancelled_while_the_server_is_silent(site: Site, git: GitServer) -> None:
    git.stall_after = 0
    task = site.submit(site.build(git.url("web")))
    worker = site.worker("--max-tasks", "1")
    assert git.stalled.wait(60)
    cancel(site, task)
    assert worker.wait() == 0
    assert_canceled(site, task, "loading")


def test_a_build_is_cancelled_in_a_step(site: Site, git: GitServer, slow: str) -> None:
    task = site.submit(site.build(git.url(slow)))
    worker = site.worker("--max-tasks", "1")
    site.wait_for_sleep()
    cancel(site, task)
    assert worker.wait() == 0
    assert_canceled(site, task, "running")


def test_a_push_is_cancelled_while_the_registry_is_silent(site: Site, git: GitServer, gated_registry: Gate) -> None:
    tag = f"{gated_registry.address}/team/app:{site.token}"
    task = site.submit(site.build(git.url("web"), build={"tags": [tag], "push": True}))
    worker = site.worker("--max-tasks", "1")
    gated_registry.wait_until_held()
    cancel(site, task)
    assert worker.wait() == 0
    assert_canceled(site, task, "uploading")


def test_a_worker_killed_in_a_push_leaves_no_name_and_the_next_one_pushes(
    site: Site, git: GitServer, gated_registry: Gate
) -> None:
    tag = f"{gated_registry.address}/team/app:{site.token}"
    task = site.submit(site.build(git.url("web"), build={"tags": [tag], "push": True}))
    first = site.worker()
    gated_registry.wait_until_held()
    first.kill()
    gated_registry.open()
    site.run_worker()
    assert site.resolutions(task) == ["exception (worker-shutdown)", "completed"]
    assert site.leftovers() == []
