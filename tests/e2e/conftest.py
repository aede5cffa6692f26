"""A home for each test, and one git server and registry for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from script.base_image import ensure_base_image
from tests.support.e2e import Site
from tests.support.githttp import GitServer, make_repository
from tests.support.registry import Registry, registry

GIT_TOKEN = "git-token-5e1f"
PASSWORD = "registry-password-77c2"

DOCKERFILE = "FROM taskrunner-base\nCOPY page.txt /page.txt\nRUN test -s /page.txt\n"


@pytest.fixture(scope="session")
def base_image() -> str:
    ensure_base_image()
    return "taskrunner-base:latest"


@pytest.fixture
def site(tmp_path: Path, base_image: str) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repository `web`, which builds."""
    folder = tmp_path_factory.mktemp("git")
    make_repository(folder / "web", {"Dockerfile": DOCKERFILE, "page.txt": "A page.\n" * 1000})
    return folder


@pytest.fixture(scope="session")
def private_git(repositories: Path) -> Iterator[GitServer]:
    """Serves with the token only."""
    with GitServer(repositories, token=GIT_TOKEN) as server:
        yield server


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Serves the user `ann` with the password only."""
    with registry(tmp_path_factory.mktemp("registry"), {"ann": PASSWORD}) as running:
        yield running


@pytest.fixture
def git(repositories: Path) -> Iterator[GitServer]:
    """A server of one test, open to all, which the test can stall."""
    with GitServer(repositories) as server:
        yield server
