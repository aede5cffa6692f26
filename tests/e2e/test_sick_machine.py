"""An unhealthy machine: its disk is full, or Docker does not run. One clear line says so, and no task is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.e2e import Site
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
def test_a_task_that_fills_the_disk_of_its_own_queue_keeps_its_resolution(site: Site) -> None:
    site.configure("min_free_disk = 0\n")
    ended = site.run(site.process("dd if=/dev/zero of=big bs=64k; exit 5"))
    assert ended.status == 1
    assert "failed (exit-code)" in ended.everything
    assert site.leftovers() == []


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
        ("", {"TASKRUNNER_QUEUE": "redis://x"}, "taskrunner: there is no queue named redis (known are sqlite)\n"),
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
