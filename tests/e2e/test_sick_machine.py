"""A machine that is not well: its disk is full, or Docker does not run. One clear line, and no task is burnt."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.e2e import Bench
from tests.support.githttp import GitServer, make_repository

SIZE = 4 << 20
FULL = "No space left on device"


@pytest.fixture
def small_home(bench: Bench) -> Iterator[Path]:
    """The home on a disk of 4 MB. Needs the right to mount one."""
    bench.home.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "taskrunner-test", bench.home], check=True)
    try:
        yield bench.home
    finally:
        for worker in bench.workers:
            worker.close()
        subprocess.run(["umount", "--lazy", bench.home], check=True)


def free(folder: Path) -> int:
    system = os.statvfs(folder)
    return system.f_bavail * system.f_frsize


def test_a_task_that_fills_the_disk_fails_alone(bench: Bench, small_home: Path) -> None:
    bench.configure("min_free_disk = 0\n")
    bench.variables["TASKRUNNER_QUEUE"] = f"sqlite://{bench.folder}/queue.db"  # on a disk that has room
    task = bench.process("dd if=/dev/zero of=big bs=64k; echo after; exit 5")
    ended = bench.run(task)
    assert ended.status in {1, 3}
    assert FULL in ended.out
    assert "Traceback" not in ended.everything
    assert free(small_home) > SIZE // 2
    assert bench.run(bench.process("true", id="next")).status == 0
    assert bench.left() == []


@pytest.mark.usefixtures("small_home")
def test_a_task_that_fills_the_disk_under_its_own_queue_keeps_its_true_ending(bench: Bench) -> None:
    bench.configure("min_free_disk = 0\n")
    ended = bench.run(bench.process("dd if=/dev/zero of=big bs=64k; exit 5"))
    assert ended.status == 1
    assert "failed (exit-code)" in ended.everything
    assert bench.left() == []


def test_a_repository_that_does_not_fit_says_that_the_disk_is_full(
    bench: Bench, small_home: Path, git: GitServer, repositories: Path
) -> None:
    make_repository(repositories / "large", {"Dockerfile": "FROM taskrunner-base\n", "noise": os.urandom(2 * SIZE)})
    bench.configure("min_free_disk = 0\n")
    ended = bench.run(bench.build(git.url("large")))
    assert ended.status == 3
    words = f"clone: the mirror of {git.url('large')} cannot be read or written: {FULL}"
    assert words in ended.out.splitlines()[-1]
    assert "Traceback" not in ended.everything
    assert free(small_home) > SIZE // 2
    assert bench.left() == []


def test_a_machine_with_too_little_disk_claims_nothing_and_says_why(bench: Bench, small_home: Path) -> None:
    task = bench.submit(bench.process("true"))
    worker = bench.worker()
    worker.sees(f"bytes are free in {small_home}; at least 268,435,456 must be")
    worker.terminate()
    assert worker.ends() == 0
    assert bench.status(task).state == "pending"
    assert bench.status(task).runs == ()


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
def test_without_docker_one_line_says_what_to_do(bench: Bench, host: str, words: str) -> None:
    bench.variables["DOCKER_HOST"] = host
    ended = bench.run({"id": "x", "platform": "docker", "image": "taskrunner-base"})
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
def test_a_wrong_configuration_is_told_before_anything_runs(
    bench: Bench, text: str, variables: dict[str, str], words: str
) -> None:
    bench.configure(text)
    bench.variables.update(variables)
    ended = bench.run(bench.process("true"))
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
def test_a_task_that_is_none_is_refused_in_words(bench: Bench, text: str, words: str) -> None:
    ended = bench.command("run", "--task", "-", stdin=text)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("taskrunner: ")
    assert words in ended.err
    assert "Traceback" not in ended.err
