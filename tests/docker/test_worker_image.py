"""The image of a worker, built without a network, and a worker in it."""

from __future__ import annotations

import json
import shutil
import sysconfig
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import pip
import psutil
import pytest

from taskrunner.service.description import STOP_TIMEOUT
from tests.support.queue_processes import until
from tests.support.tool_image import image_with, interpreter, libraries, program, python
from tests.support.wheelhouse import make_wheels

DOCKERFILE = Path(__file__).resolve().parents[2] / "examples" / "worker_image" / "Dockerfile"
NEEDED = ("attrs", "cattrs", "click", "psutil", "python-statemachine", "pyyaml", "rich")
BASE = """\
FROM {image}
COPY pip {packages}/pip
RUN chmod 711 /root && mkdir -p /usr/local/bin && ln -s {python} /usr/local/bin/python
"""
"""What an image with Python has, and that of the tools has not: pip, and a Python for all users."""


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    made = docker.from_env(timeout=120)
    yield made
    made.close()


def build(client: docker.DockerClient, folder: Path, **arguments: str) -> str:
    tag = f"worker-image-{uuid.uuid4().hex[:8]}"
    client.images.build(path=str(folder), tag=tag, buildargs=arguments, network_mode="none", rm=True, forcerm=True)
    return tag


@pytest.fixture(scope="module")
def python_image(
    client: docker.DockerClient, base_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("base")
    shutil.copytree(Path(pip.__file__).parent, folder / "pip", ignore=shutil.ignore_patterns("__pycache__"))
    home = str(interpreter().parents[1])
    packages = sysconfig.get_path("purelib", vars={"base": home})
    native = Path(psutil.__file__).parent.glob("*.so")
    by_name = Path("/usr/lib").glob("*/libgcc_s.so.1")  # what glibc loads when a thread ends
    files = [*python(), *program("tini"), *libraries(*native), *by_name]
    with image_with(client.api, base_image, "with-python", files) as image:
        (folder / "Dockerfile").write_text(BASE.format(image=image, packages=packages, python=interpreter()))
        tag = build(client, folder)
        yield tag
        client.images.remove(tag, force=True)


@pytest.fixture(scope="module")
def worker_image(
    client: docker.DockerClient, python_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("worker")
    (folder / "wheels").mkdir()
    shutil.copy(DOCKERFILE, folder)
    make_wheels(folder / "wheels", *NEEDED)
    tag = build(client, folder, BASE=python_image, PACKAGE="taskrunner-worker")
    yield tag
    client.images.remove(tag, force=True)


@pytest.fixture
def container(client: docker.DockerClient, worker_image: str) -> Iterator[Any]:
    """A worker in its image, with as few rights as it needs. Waits until it is healthy."""
    container = client.containers.run(
        worker_image, detach=True, network_mode="none", read_only=True, cap_drop=["ALL"],
        tmpfs={"/tmp": "", "/var/lib/taskrunner": "exec,uid=10001,gid=10001,mode=700"},
        security_opt=["no-new-privileges"], environment={"TASKRUNNER_STOP_TIMEOUT": f"{STOP_TIMEOUT:g}"},
    )  # fmt: skip
    try:
        _, *health = client.api.inspect_image(worker_image)["Config"]["Healthcheck"]["Test"]
        until(lambda: container.exec_run(health).exit_code == 0)
        yield container
    finally:
        container.remove(force=True, v=True)


def said(container: Any, *command: str) -> str:
    status, output = container.exec_run(list(command))
    assert status == 0, output
    return str(output.decode())


def test_a_worker_in_its_image_is_healthy_and_not_root(container: Any) -> None:
    assert said(container, "id", "-u").strip() == "10001"
    assert said(container, "cat", "/proc/1/comm").strip() == "tini"


def test_a_task_runs_in_the_image_and_docker_stop_lets_it_finish(container: Any) -> None:
    wait = "until test -e /tmp/go; do sleep 0.1; done; exit 5"
    task = json.dumps({"id": "one", "platform": "process", "command": ["sh", "-c", f"touch /tmp/begun; {wait}"]})
    said(container, "sh", "-c", 'echo "$0" >/tmp/task.json; taskrunner submit /tmp/task.json', task)
    until(lambda: container.exec_run(["test", "-e", "/tmp/begun"]).exit_code == 0)
    with ThreadPoolExecutor(1) as stopping:
        stopped = stopping.submit(container.stop, timeout=60)
        until(lambda: b"SIGTERM" in container.logs())
        said(container, "touch", "/tmp/go")
        stopped.result()
    log = container.logs().decode()
    assert "failed (exit-code)" in log, log
    assert container.wait()["StatusCode"] == 0, log
