"""The base image of runs and builds, and a client of Docker."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest

from script.base_image import ensure_base_image
from tests.support.docker_bench import DockerBench, DockerState


@pytest.fixture(scope="session")
def base_image() -> str:
    ensure_base_image()
    return "taskrunner-base:latest"


@pytest.fixture
def api() -> Iterator[docker.APIClient]:
    client = docker.APIClient(version="auto")
    yield client
    client.close()


@pytest.fixture
def tagged(api: docker.APIClient, base_image: str) -> Iterator[Callable[[str], str]]:
    """Sets another name of the base image during the test."""
    names: list[str] = []

    def tag(name: str) -> str:
        names.append(name)
        repository, _, version = name.rpartition(":")
        api.tag(base_image, repository, version)
        return name

    yield tag
    for name in names:
        with suppress(docker.errors.ImageNotFound):
            api.remove_image(name)


@pytest.fixture
def bench(tmp_path: Path, api: docker.APIClient, base_image: str) -> Iterator[DockerBench]:
    """One platform for one test, of which nothing is left at its end."""
    bench = DockerBench(tmp_path / "home", worker_id=f"w-{uuid.uuid4().hex[:8]}")
    yield bench
    left = DockerState.of(api, bench.worker_id, bench.home)
    assert not left.containers | left.networks | left.volumes
