"""The base image of runs and builds, and a client of Docker."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest

from script.base_image import ensure_base_image


@pytest.fixture(scope="session")
def base_image() -> str:
    ensure_base_image()
    return "taskrunner-base:latest"


@pytest.fixture
def api() -> Iterator[docker.APIClient]:
    client = docker.APIClient(version="auto")
    yield client
    client.close()
