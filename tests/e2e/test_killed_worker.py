"""A worker that is killed: the next worker removes all that its run left, and finishes the task."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.e2e import Site
from tests.support.gate import Gate
from tests.support.githttp import GitServer, commit, make_repository

SOCKET = "/var/run/docker.sock"

FAMILY = """\
if [ "$RUN_ID" = 0 ]; then
    setsid sleep {token} & echo $! > {pids}
    (setsid sleep {token} & echo $! >> {pids}) &
    echo $$ >> {pids}
    echo the first has begun
    exec sleep {token}
fi
for pid in $(cat {pids}); do
    if grep -qs {token} /proc/$pid/cmdline; then echo "$pid is alive"; else echo "$pid is gone"; fi
done
"""


def test_nothing_of_a_killed_workers_run_is_alive_when_the_next_one_begins(site: Site) -> None:
    pids = site.folder / "pids"
    task = site.submit(site.process(FAMILY.format(token=site.token, pids=pids)))
    first = site.worker()
    site.wait_for_log(task, "the first has begun")
    first.kill()
    assert len(site.processes()) >= 3, "the run must outlive its worker in this test"
    site.run_worker()
    assert site.resolutions(task) == ["exception (worker-shutdown)", "completed"]
    assert site.log(task, 1).count("is gone") == len(pids.read_text().split()) == 3
    assert "is alive" not in site.log(task, 1)
    assert site.leftovers() == []


def test_nothing_of_a_frozen_workers_run_is_alive_when_the_next_one_begins(site: Site) -> None:
    """It is stopped past the end of its claim: alive, so that nobody recovers from it, and unable to end anything."""
    site.configure("lease = 3.0\n")
    pids = site.folder / "pids"
    task = site.submit(site.process(FAMILY.format(token=site.token, pids=pids)))
    frozen = site.worker()
    site.wait_for_log(task, "the first has begun")
    frozen.process.send_signal(signal.SIGSTOP)
    try:
        assert site.worker("--max-tasks", "1").wait() == 0
        assert site.resolutions(task) == ["exception (claim-expired)", "completed"]
        assert site.log(task, 1).count("is gone") == len(pids.read_text().split()) == 3
        assert "is alive" not in site.log(task, 1)
        assert f"run {task}/0 of worker {site.status(task).runs[0].worker_id}, which does not answer: " in site.log(
            task, 1
        )
    finally:
        frozen.process.send_signal(signal.SIGCONT)
    frozen.terminate()
    frozen.wait()
    assert site.resolutions(task) == ["exception (claim-expired)", "completed"]
    assert site.states(task)[-1] == "resolved"
    assert site.leftovers() == []


def test_a_frozen_workers_container_is_removed_by_the_one_that_takes_over(site: Site) -> None:
    site.configure("lease = 3.0\n")
    script = '[ "$RUN_ID" = 1 ] && exit; echo it has begun; while :; do sleep 1; done'
    document = {**site.process(f"{script}; # {site.token}"), "platform": "docker", "image": "taskrunner-base"}
    task = site.submit(document)
    frozen = site.worker()
    site.wait_for_log(task, "it has begun")
    frozen.process.send_signal(signal.SIGSTOP)
    try:
        assert site.worker("--max-tasks", "1").wait() == 0
        assert site.resolutions(task) == ["exception (claim-expired)", "completed"]
        assert f"run {task}/0 of worker {site.status(task).runs[0].worker_id}, which does not answer: " in site.log(
            task, 1
        )
    finally:
        frozen.process.send_signal(signal.SIGCONT)
    frozen.terminate()
    frozen.wait()
    assert site.resolutions(task) == ["exception (claim-expired)", "completed"]
    assert site.leftovers() == []


def test_the_run_of_a_dead_worker_says_that_it_died(site: Site) -> None:
    task = site.submit(site.process(f'[ "$RUN_ID" = 1 ] || exec sleep {site.token}'))
    first = site.worker()
    site.wait_for_state(task, "running")
    first.kill()
    second = site.run_worker()
    dead = site.status(task).runs[0].worker_id
    message = f"worker {dead} died during this run"
    assert f"warning  run {task}/0 of worker {dead}, which died, was handed back" in second.output
    run = site.status(task).runs[0]
    assert run.resolution is not None
    assert (run.resolution.reason, run.resolution.message) == ("worker-shutdown", message)
    assert site.states(task)[-1] == "resolved"
    assert site.log(task).splitlines()[-1].endswith(message)
    shown = site.command("show", task)
    assert message in shown.out


@pytest.mark.parametrize(
    ("state", "request_"),
    [
        ("claimed", rb"GET /_ping"),
        ("loading", rb"GET /v[\d.]+/images/"),
        ("running", rb"POST /v[\d.]+/containers/create"),
        ("running", rb"POST /v[\d.]+/containers/[^/ ]+/start"),
        ("uploading", rb"(?:GET|HEAD) /v[\d.]+/containers/[^/ ]+/archive\?path=[^ ]*made.txt"),
        ("cleanup", rb"DELETE /v[\d.]+/containers/"),
    ],
)
def test_a_worker_killed_in_any_state_of_a_container_leaves_nothing(
    site: Site, tmp_path: Path, state: str, request_: bytes
) -> None:
    command = ["sh", "-c", "echo once > /made.txt"]
    made = [{"name": "made.txt", "path": "made.txt"}]
    task = site.submit(
        {"id": f"t{site.token}", "platform": "docker", "image": "taskrunner-base", "command": command}
        | {"artifacts": made, "working_dir": "/"}
    )
    with Gate(SOCKET, tmp_path) as gate:
        gate.hold(request_)
        site.variables["DOCKER_HOST"] = gate.address
        first = site.worker()
        gate.wait_until_held()
        assert site.states(task)[-1] == state
        first.kill()
    del site.variables["DOCKER_HOST"]
    site.run_worker()
    endings = site.resolutions(task)
    assert endings[-1] == "completed"
    assert endings.count("completed") == 1
    assert site.states(task)[-1] == "resolved"
    assert site.leftovers() == []


def test_a_run_that_was_reported_keeps_its_resolution_and_the_end_of_its_log(site: Site, tmp_path: Path) -> None:
    task = site.submit({"id": f"t{site.token}", "platform": "docker", "image": "taskrunner-base", "command": ["true"]})
    with Gate(SOCKET, tmp_path) as gate:
        gate.hold(rb"DELETE /v[\d.]+/containers/")
        site.variables["DOCKER_HOST"] = gate.address
        first = site.worker()
        gate.wait_until_held()
        first.kill()
    del site.variables["DOCKER_HOST"]
    site.run_worker()
    assert site.resolutions(task) == ["completed"]
    assert "completed after" in site.log(task)
    assert "worker-shutdown" not in site.log(task)
    assert site.leftovers() == []


def test_the_next_worker_finishes_a_build_that_was_killed_in_a_step(
    site: Site, git: GitServer, repositories: Path
) -> None:
    repository = repositories / f"slow-{site.token}"
    make_repository(repository, {"Dockerfile": f"FROM taskrunner-base\nRUN sleep {site.token}\n"})
    task = site.submit(site.build(git.url(repository.name)))
    first = site.worker()
    site.wait_for_sleep()
    first.kill()
    commit(repository, {"Dockerfile": "FROM taskrunner-base\nRUN echo quick\n"})
    site.run_worker()
    assert site.resolutions(task) == ["exception (worker-shutdown)", "completed"]
    assert site.leftovers() == []
