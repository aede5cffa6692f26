"""A registry, a platform, and images that are only there."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest

from tests.support.docker_bench import DockerBench, DockerState
from tests.support.random_layer import random_layer
from tests.support.registry import Registry, registry


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as listening:
        yield listening


@pytest.fixture
def bench(tmp_path: Path, api: docker.APIClient) -> Iterator[DockerBench]:
    bench = DockerBench(tmp_path / "home", worker_id=f"w-{uuid.uuid4().hex[:8]}")
    yield bench
    assert not DockerState.of(api, bench.worker_id, bench.home).containers


@pytest.fixture
def publish(api: docker.APIClient) -> Iterator[Callable[[str], str]]:
    """Pushes a new image under a name, and returns its id. Docker has it no more then."""
    images: list[str] = []

    def push(name: str) -> str:
        repository, _, tag = name.rpartition(":")
        api.import_image_from_data(random_layer(), repository=repository, tag=tag)
        image = str(api.inspect_image(name)["Id"])
        assert "error" not in api.push(repository, tag=tag)
        api.remove_image(name)
        images.append(image)
        return image

    yield push
    for image in images:
        with suppress(docker.errors.ImageNotFound):
            api.remove_image(image, force=True)
