"""A worker that dies in the middle: whoever starts next removes what it left, and finishes its task."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.e2e import Bench
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


def test_nothing_of_a_killed_workers_run_is_alive_when_the_next_one_begins(bench: Bench) -> None:
    pids = bench.folder / "pids"
    task = bench.submit(bench.process(FAMILY.format(token=bench.token, pids=pids)))
    first = bench.worker()
    bench.says(task, "the first has begun")
    first.kill()
    assert len(bench.processes()) >= 3, "killing the worker alone was to leave its run alive"
    bench.worker_ends()
    assert bench.endings(task) == ["exception (worker-shutdown)", "completed"]
    assert bench.log(task, 1).count("is gone") == len(pids.read_text().split()) == 3
    assert "is alive" not in bench.log(task, 1)
    assert bench.left() == []


def test_the_dead_run_says_what_became_of_it(bench: Bench) -> None:
    task = bench.submit(bench.process(f'[ "$RUN_ID" = 1 ] || exec sleep {bench.token}'))
    first = bench.worker()
    bench.reaches(task, "running")
    first.kill()
    second = bench.worker_ends()
    dead = bench.status(task).runs[0].worker_id
    words = f"worker {dead} died; another one takes the task over"
    assert f"warning  run {task}/0 of worker {dead}, which died, was handed back" in second.output
    run = bench.status(task).runs[0]
    assert run.resolution is not None
    assert (run.resolution.reason, run.resolution.message) == ("worker-shutdown", words)
    assert bench.states(task)[-1] == "resolved"
    assert bench.log(task).splitlines()[-1].endswith(words)
    shown = bench.command("show", task)
    assert words in shown.out


@pytest.mark.parametrize(
    ("state", "request_"),
    [
        ("claimed", rb"GET /_ping"),
        ("loading", rb"GET /v[\d.]+/images/"),
        ("running", rb"POST /v[\d.]+/containers/create"),
        ("running", rb"POST /v[\d.]+/containers/[^/ ]+/start"),
        ("uploading", rb"(?:GET|HEAD) /v[\d.]+/containers/[^/ ]+/archive"),
        ("cleanup", rb"DELETE /v[\d.]+/containers/"),
    ],
)
def test_a_worker_killed_in_any_state_of_a_container_leaves_nothing(
    bench: Bench, tmp_path: Path, state: str, request_: bytes
) -> None:
    command = ["sh", "-c", "echo once > /made.txt"]
    made = [{"name": "made.txt", "path": "made.txt"}]
    task = bench.submit(
        {"id": f"t{bench.token}", "platform": "docker", "image": "taskrunner-base", "command": command}
        | {"artifacts": made, "working_dir": "/"}
    )
    with Gate(SOCKET, tmp_path) as gate:
        gate.hold(request_)
        bench.variables["DOCKER_HOST"] = gate.address
        first = bench.worker()
        gate.wait_until_held()
        assert bench.states(task)[-1] == state
        first.kill()
    del bench.variables["DOCKER_HOST"]
    bench.worker_ends()
    endings = bench.endings(task)
    assert endings[-1] == "completed"
    assert endings.count("completed") == 1
    assert bench.states(task)[-1] == "resolved"
    assert bench.left() == []


def test_a_run_that_had_been_reported_keeps_its_own_last_words(bench: Bench, tmp_path: Path) -> None:
    task = bench.submit(
        {"id": f"t{bench.token}", "platform": "docker", "image": "taskrunner-base", "command": ["true"]}
    )
    with Gate(SOCKET, tmp_path) as gate:
        gate.hold(rb"DELETE /v[\d.]+/containers/")
        bench.variables["DOCKER_HOST"] = gate.address
        first = bench.worker()
        gate.wait_until_held()
        first.kill()
    del bench.variables["DOCKER_HOST"]
    bench.worker_ends()
    assert bench.endings(task) == ["completed"]
    assert "completed after" in bench.log(task)
    assert "worker-shutdown" not in bench.log(task)
    assert bench.left() == []


def test_the_next_worker_finishes_a_build_that_was_killed_in_a_step(
    bench: Bench, git: GitServer, repositories: Path
) -> None:
    repository = repositories / f"slow-{bench.token}"
    make_repository(repository, {"Dockerfile": f"FROM taskrunner-base\nRUN sleep {bench.token}\n"})
    task = bench.submit(bench.build(git.url(repository.name)))
    first = bench.worker()
    bench.sleeps()
    first.kill()
    commit(repository, {"Dockerfile": "FROM taskrunner-base\nRUN echo quick\n"})
    bench.worker_ends()
    assert bench.endings(task) == ["exception (worker-shutdown)", "completed"]
    assert bench.left() == []
