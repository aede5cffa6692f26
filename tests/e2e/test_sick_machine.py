"""An unhealthy machine: its disk is full, or Docker does not run. One clear line says so, and no task is lost."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.e2e import Site
from tests.support.faults import fill
from tests.support.githttp import GitServer, make_repository

SIZE = 4 << 20
FULL = "No space left on device"


@pytest.fixture
def small_home(site: Site) -> Iterator[Path]:
    """The home on a disk of 4 MB. Needs the right to mount one."""
    site.home.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "taskrunner-test", site.home], check=True)
    try:
        yield site.home
    finally:
        for worker in site.workers:
            worker.close()
        subprocess.run(["umount", "--lazy", site.home], check=True)


def free(folder: Path) -> int:
    system = os.statvfs(folder)
    return system.f_bavail * system.f_frsize


def test_a_task_that_fills_the_disk_fails_alone(site: Site, small_home: Path) -> None:
    site.configure("min_free_disk = 0\n")
    site.variables["TASKRUNNER_QUEUE"] = f"sqlite://{site.folder}/queue.db"  # on a disk that has room
    task = site.process("dd if=/dev/zero of=big bs=64k; echo after; exit 5")
    ended = site.run(task)
    assert ended.status in {1, 3}
    assert FULL in ended.out
    assert "Traceback" not in ended.everything
    assert free(small_home) > SIZE // 2
    assert site.run(site.process("true", id="next")).status == 0
    assert site.leftovers() == []


@pytest.mark.usefixtures("small_home")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"command": ["sh", "-c", "yes | head -c 8000000"]}, "the log of this run cannot be written any further"),
        (
            {
                "command": ["sh", "-c", "head -c 3000000 /dev/zero > made"],
                "artifacts": [{"name": "made", "path": "made"}],
            },
            "the artifact store refused",
        ),
    ],
)
def test_what_does_not_fit_on_the_disk_is_the_fault_of_the_machine(
    site: Site, more: dict[str, Any], words: str
) -> None:
    site.configure("min_free_disk = 0\n")
    site.variables["TASKRUNNER_QUEUE"] = f"sqlite://{site.folder}/queue.db"
    ended = site.run({**site.process("true"), **more})
    assert ended.status == 3
    last = ended.out.splitlines()[-1]
    assert "exception (resource-unavailable)" in last
    assert words in last
    assert FULL in last
    assert "Traceback" not in ended.everything
    assert site.leftovers() == []


@pytest.mark.usefixtures("small_home")
def test_a_worker_waits_for_room_and_runs_the_task_again(site: Site, small_home: Path) -> None:
    site.configure("min_free_disk = 0\n")
    site.variables["TASKRUNNER_QUEUE"] = f"sqlite://{site.folder}/queue.db"
    worker = site.worker()
    task = site.process("echo made > made; sleep 1", artifacts=[{"name": "made", "path": "made"}], retries=30)
    site.submit(task)
    site.wait_for_state(task["id"], "running")
    filling = fill(small_home)
    worker.wait_for_output("does not take 1,048,576 bytes: No space left on device")
    filling.unlink()
    assert site.command("wait", task["id"]).status == 0
    assert set(site.resolutions(task["id"])[:-1]) <= {"exception (resource-unavailable)"}


@pytest.mark.usefixtures("small_home")
def test_a_task_that_fills_the_disk_of_its_own_queue_keeps_its_resolution(site: Site) -> None:
    site.configure("min_free_disk = 0\n")
    ended = site.run(site.process("dd if=/dev/zero of=big bs=64k; exit 5"))
    assert ended.status == 1
    assert "failed (exit-code)" in ended.everything
    assert site.leftovers() == []


def test_the_tasks_on_a_full_disk_can_be_looked_at_and_cancelled(site: Site, small_home: Path) -> None:
    site.configure("min_free_disk = 0\n")
    assert site.run(site.process("echo hello", id="done")).status == 0
    site.submit(site.process("sleep 600", id="waiting"))
    with (small_home / "filling").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert free(small_home) == 0
    assert "waiting" in site.command("list").out
    assert "completed" in site.command("show", "done").out
    assert "hello" in site.command("logs", "done").out
    assert site.command("cancel", "waiting").status == 0
    assert "canceled" in site.command("show", "waiting").out
    assert not (small_home / "queue.db.reserve").exists()
    (small_home / "filling").unlink()
    assert "canceled" in site.command("list").out
    assert (small_home / "queue.db.reserve").exists(), "the next command that finds room makes the reserve again"


def test_a_worker_whose_home_is_replaced_claims_no_more(site: Site) -> None:
    site.variables["TASKRUNNER_QUEUE"] = f"sqlite://{site.folder}/queue.db"
    worker = site.worker()
    submit(site, "first")
    assert site.command("wait", "first").status == 0
    site.home.rename(site.home.with_name("moved"))
    site.home.mkdir(mode=0o700)
    submit(site, "granted")  # to the claim that waits
    worker.wait_for_output("was removed or replaced while this worker runs")
    submit(site, "later")
    worker.terminate()
    worker.wait()
    assert "pending" in site.command("show", "later").out, "a replaced home takes no more work"


def submit(site: Site, task_id: str) -> None:
    """To the queue of the variables."""
    assert site.command("submit", "-", stdin=json.dumps(site.process("true", id=task_id))).status == 0


def test_a_repository_that_does_not_fit_says_that_the_disk_is_full(
    site: Site, small_home: Path, git: GitServer, repositories: Path
) -> None:
    make_repository(repositories / "large", {"Dockerfile": "FROM taskrunner-base\n", "noise": os.urandom(2 * SIZE)})
    site.configure("min_free_disk = 0\n")
    ended = site.run(site.build(git.url("large")))
    assert ended.status == 3
    words = f"clone: the mirror of {git.url('large')} cannot be read or written: {FULL}"
    assert words in ended.out.splitlines()[-1]
    assert "Traceback" not in ended.everything
    assert free(small_home) > SIZE // 2
    assert site.leftovers() == []


def test_a_worker_with_too_little_disk_claims_nothing_and_says_why(site: Site, small_home: Path) -> None:
    task = site.submit(site.process("true"))
    worker = site.worker()
    worker.wait_for_output(f"bytes are free in {small_home}; at least 268,435,456 must be")
    worker.terminate()
    assert worker.wait() == 0
    assert site.status(task).state == "pending"
    assert site.status(task).runs == ()


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (
            "unix:///nowhere/docker.sock",
            (
                "Docker does not answer at /nowhere/docker.sock (nothing listens there): start it, or name its socket "
                "as `host` in [docker]"
            ),
        ),
        (
            "tcp://192.0.2.1:2375",
            (
                "the worker's configuration: DOCKER_HOST is 'tcp://192.0.2.1:2375': only unix:///path works, since "
                "Docker must be on this machine"
            ),
        ),
    ],
)
def test_without_docker_one_line_says_what_to_do(site: Site, host: str, words: str) -> None:
    site.variables["DOCKER_HOST"] = host
    ended = site.run({"id": "x", "platform": "docker", "image": "taskrunner-base"})
    assert ended.status == 3
    assert ended.out.splitlines()[-1].endswith(f": {words}")
    assert ended.err.count(words) == 1
    assert "Traceback" not in ended.everything


@pytest.mark.parametrize(
    ("text", "variables", "words"),
    [
        ("capcity = 3\n", {}, "taskrunner: taskrunner.toml: capcity: is not known here (did you mean capacity?)\n"),
        (
            "",
            {"TASKRUNNER_QUEUE": "redis://x"},
            "taskrunner: TASKRUNNER_QUEUE: there is no queue named redis (known are agent, http, ",
        ),
        ("", {"TASKRUNNER_CAPACITY": "no"}, "taskrunner: TASKRUNNER_CAPACITY: expected a whole number, got a text"),
    ],
)
def test_a_wrong_configuration_is_an_error_before_anything_runs(
    site: Site, text: str, variables: dict[str, str], words: str
) -> None:
    site.configure(text)
    site.variables.update(variables)
    ended = site.run(site.process("true"))
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("null", "stdin: holds null where a table is expected (write keys and values at the top level)"),
        ("", "stdin"),
        ("{", "stdin"),
    ],
)
def test_a_document_that_is_not_a_task_is_refused_with_a_message(site: Site, text: str, words: str) -> None:
    ended = site.command("run", "--task", "-", stdin=text)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("taskrunner: ")
    assert words in ended.err
    assert "Traceback" not in ended.err
