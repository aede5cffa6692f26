"""A well-known project, with its own tests, as the source of each kind of task."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from script.base_image import ensure_base_image
from tests.support.e2e import Site
from tests.support.githttp import commit, git, make_repository
from tests.support.tool_image import image_with, interpreter, python

PROJECT = "idna==3.10"
"""Pure Python, used by most programs that speak HTTP, and tested by the standard library alone."""
SHA256 = "12f65c9b470abda6dc35cf8e63cc574b1c52b11df2c86030af0ac09b01b13ea9"
TEST = [str(interpreter()), "-m", "unittest"]
"""The project's own command."""


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", PROJECT]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.fail(f"this test needs the sdist of {PROJECT} from the package index: {done.stderr}")
    (file,) = folder.glob("*.tar.gz")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == SHA256
    return file


@pytest.fixture(scope="session")
def repository(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist made into a repository."""
    path = tmp_path_factory.mktemp("repository") / "idna"
    make_repository(path, {"README": "first\n"})
    subprocess.run(["tar", "-xzf", sdist, "--strip-components=1", "-C", path], check=True)
    commit(path, {})
    return path


@pytest.fixture(scope="session")
def python_image() -> Iterator[str]:
    ensure_base_image()
    client = docker.APIClient(version="auto")
    with image_with(client, "taskrunner-base", "with-python", python()) as image:
        yield image
    client.close()


@pytest.fixture(params=["repository", "archive"])
def source(request: pytest.FixtureRequest, site: Site, sdist: Path, repository: Path) -> dict[str, Any]:
    if request.param == "repository":
        site.configure(f'[source]\nrepositories = ["{repository}"]\n')
        return {"repository": str(repository)}
    (site.folder / "archives").mkdir()
    shutil.copy(sdist, site.folder / "archives")
    site.configure(f'[source]\narchives = ["{site.folder}/archives"]\n')
    return {"archive": f"{site.folder}/archives/{sdist.name}", "sha256": SHA256, "strip": 1}


def run_to_its_end(site: Site, document: dict[str, Any]) -> None:
    task = site.submit({"id": f"t{site.token}", **document})
    site.run_worker()
    log = site.command("logs", task).everything
    assert site.resolutions(task) == ["completed"], log
    assert re.search(r"Ran \d+ tests in .*\bOK\b", log, re.DOTALL), log


def test_its_tests_pass_in_a_process(site: Site, source: dict[str, Any]) -> None:
    run_to_its_end(site, {"platform": "process", "command": TEST, "source": source})


def test_its_tests_pass_in_a_container(site: Site, source: dict[str, Any], python_image: str) -> None:
    run_to_its_end(site, {"platform": "docker", "image": python_image, "command": TEST, "source": source})


def test_its_tests_pass_in_a_build(site: Site, repository: Path, python_image: str) -> None:
    project, archive = site.folder / "idna", site.folder / "idna.tar.gz"
    shutil.copytree(repository, project)
    dockerfile = f"FROM {python_image}\nCOPY . /src\nWORKDIR /src\nRUN {' '.join(TEST)} 2>&1\n"
    commit(project, {"Dockerfile": dockerfile})
    git(project, "archive", "--prefix=idna-3.10/", f"--output={archive}", "HEAD")
    site.configure(f'[source]\narchives = ["{archive}"]\nrepositories = ["{project}"]\n')
    document = site.build(str(project))
    run_to_its_end(site, {**document, "id": f"t{site.token}-repository"})
    run_to_its_end(site, {**document, "id": f"t{site.token}-archive", "source": {"archive": str(archive), "strip": 1}})
