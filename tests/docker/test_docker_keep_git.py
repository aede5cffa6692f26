"""A build whose context has a `.git`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from taskrunner.errors import MalformedPayload
from taskrunner.model import Source
from taskrunner_docker import BuildSpec, DockerPayload
from taskrunner_docker.payload import check
from tests.support.docker_bench import DockerBench
from tests.support.githttp import commit, git
from tests.support.project import make_project
from tests.support.tool_image import image_with, program

SCRIPT = """\
set -e
git config --global core.fsmonitor false
echo "status <$(git status --porcelain)> <$(git diff HEAD)>"
echo "head $(git rev-parse HEAD) describe $(git describe --always --dirty)"
git fsck --strict
echo changed > slugs/__init__.py
echo "then <$(git status --porcelain)>"
"""


@pytest.fixture(scope="module")
def git_image(base_image: str) -> Iterator[str]:
    client = docker.APIClient(version="auto")
    with image_with(client, base_image, "with-git", program("git")) as image:
        yield image
    client.close()


@pytest.fixture
def bench(tmp_path: Path, git_image: str) -> DockerBench:
    make_project(tmp_path / "project")
    (tmp_path / "project/keep.sh").write_text(SCRIPT)
    dockerfile = f"FROM {git_image}\nARG SALT\nCOPY . /src\nWORKDIR /src\nRUN echo $SALT; sh keep.sh\n"
    commit(tmp_path / "project", {"Dockerfile": dockerfile})
    bench = DockerBench(tmp_path / "home", worker_id=f"w-{uuid.uuid4().hex[:8]}")
    bench.source = Source(str(tmp_path / "project"))
    return bench


def built(bench: DockerBench) -> str:
    """Builds, and returns what was written to the log."""
    before = len(bench.log.text)

    async def scene() -> None:
        spec = BuildSpec(keep_git=True, build_args={"SALT": uuid.uuid4().hex})
        results = await (await (await bench.loaded(DockerPayload(build=spec))).start({})).wait()
        assert results.exit_code == 0, bench.log.text
        await results.dispose()

    bench.run(scene)
    assert bench.caches.leased == []
    return bench.log.text[before:]


def test_git_works_in_the_build(bench: DockerBench, tmp_path: Path) -> None:
    sha = git(tmp_path / "project", "rev-parse", "HEAD").decode().strip()
    log = built(bench)
    assert "status <> <>" in log
    assert f"head {sha} describe {sha[:7]}" in log
    assert "then < M slugs/__init__.py>" in log
    assert list((bench.home / "runs" / "1").iterdir()) == [], "the copy of .git is removed"


def test_two_commits_are_not_taken_for_each_other(bench: DockerBench, tmp_path: Path) -> None:
    """HEAD, the index and the pack of two commits can have one size: BuildKit compares size and time alone."""
    project = tmp_path / "project"
    shas = [commit(project, {"n": text}, text) for text in ("1", "2")]
    for sha in (*shas, *shas):
        git(project, "checkout", "--quiet", "--detach", sha)
        log = built(bench)
        assert f"head {sha} " in log
        assert "status <> <>" in log


@pytest.mark.parametrize("context", ["web", "./web/"])
def test_a_git_folder_needs_the_whole_repository(context: str) -> None:
    with pytest.raises(MalformedPayload, match=r"build\.keep_git: needs the whole repository as the context"):
        check(DockerPayload(build=BuildSpec(context=context, keep_git=True)))
    check(DockerPayload(build=BuildSpec(context="./", keep_git=True)))
