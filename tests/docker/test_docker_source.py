"""A container finds the files of its task's source in its working folder."""

from __future__ import annotations

import io
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from taskrunner.errors import MalformedPayload, TaskFailed
from taskrunner.interfaces.results import Results
from taskrunner.interfaces.source import SourceOptions
from taskrunner.model import Document, Source
from taskrunner.testing.conformance.platform.harness import joined
from taskrunner_docker import BuildSpec, DockerPayload
from tests.support.docker_bench import DockerBench, DockerState
from tests.support.githttp import git, make_repository
from tests.support.project import make_archive, make_project
from tests.support.raw_git import RawRepository, entry, serving_raw


@pytest.fixture
def bench(tmp_path: Path, api: docker.APIClient, base_image: str) -> Iterator[DockerBench]:
    make_project(tmp_path / "project")
    bench = DockerBench(tmp_path / "home", worker_id=f"w-{uuid.uuid4().hex[:8]}")
    bench.source = Source(str(tmp_path / "project"))
    bench.source_options = SourceOptions((str(tmp_path),), (str(tmp_path), "http://127.0.0.1:*"))
    yield bench
    left = DockerState.of(api, bench.worker_id, bench.home)
    assert not left.containers | left.networks | left.volumes
    assert bench.caches.leased == []


async def finished(bench: DockerBench, payload: DockerPayload) -> Results:
    results = await (await (await bench.loaded(payload)).start({})).wait()
    assert results.exit_code == 0, bench.log.text
    return results


@pytest.mark.parametrize("folder", ["", "/", "/somewhere/else"])
def test_a_project_runs_its_own_tests(bench: DockerBench, folder: str) -> None:
    async def scene() -> bytes:
        command = ("sh", "-c", "pwd; sh check.sh")
        results = await finished(bench, DockerPayload("taskrunner-base", command, working_dir=folder))
        try:
            return await joined((await results.archive_file("report.txt")).read())
        finally:
            await results.dispose()

    assert bench.run(scene) == b"it works\n"
    assert f"{folder.rstrip('/') or '/work'}\n" in bench.log.text
    assert "all checks passed" in bench.log.text
    assert list((bench.home / "runs" / "1").iterdir()) == [], "the copy on this machine is removed"


@pytest.mark.parametrize("kind", ["repository", "archive"])
def test_a_build_of_the_same_project(bench: DockerBench, tmp_path: Path, kind: str) -> None:
    async def scene() -> Document:
        results = await finished(bench, DockerPayload(build=BuildSpec(build_args={"SALT": uuid.uuid4().hex})))
        try:
            return await results.deliver()
        finally:
            await results.dispose()

    archive = make_archive(tmp_path / "project", tmp_path / "slugs.tar.gz")
    if kind == "archive":
        bench.source = archive
    result = bench.run(scene)
    assert "all checks passed" in bench.log.text
    assert result.get("sha256") == (archive.sha256 if kind == "archive" else None)
    assert list((bench.home / "runs" / "1").iterdir()) == [], "the files on this machine are removed"


def test_a_container_of_the_archive(bench: DockerBench, tmp_path: Path) -> None:
    async def scene() -> None:
        await (await finished(bench, DockerPayload("taskrunner-base", ("sh", "check.sh")))).dispose()

    bench.source = make_archive(tmp_path / "project", tmp_path / "slugs.tar.gz")
    bench.run(scene)
    assert "all checks passed" in bench.log.text
    assert list((bench.home / "runs" / "1").iterdir()) == [], "the copy on this machine is removed"


def test_git_finds_the_copy_clean_without_reading_it(bench: DockerBench, tmp_path: Path) -> None:
    """The base image has no git: the folder is taken out of the container, with all times, and looked at here."""

    async def scene() -> None:
        results = await finished(bench, DockerPayload("taskrunner-base", ("tar", "-cf", "/all.tar", ".")))
        (tmp_path / "all.tar").write_bytes(await joined((await results.archive_file("/all.tar")).read()))
        await results.dispose()

    bench.run(scene)
    (tmp_path / "copy").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "all.tar", "-C", tmp_path / "copy"], check=True)  # with times of links
    index = (tmp_path / "copy/.git/index").read_bytes()
    assert git(tmp_path / "copy", "status", "--porcelain") == b""
    assert (tmp_path / "copy/.git/index").read_bytes() == index
    assert git(tmp_path / "copy", "rev-parse", "HEAD") == git(tmp_path / "project", "rev-parse", "HEAD")
    git(tmp_path / "copy", "fsck", "--strict")


@pytest.fixture(params=["1234", "1234:99", "worker", "worker:staff", "1000"])
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def image(api: docker.APIClient, base_image: str, user: str) -> Iterator[str]:
    """The base image with a user."""
    name = f"with-user-{uuid.uuid4().hex[:8]}"
    made = api.create_container(base_image, ["true"])
    accounts = {"etc/passwd": "root:x:0:0::/:/bin/sh\nworker:x:1000:1001::/:/bin/sh\n", "etc/group": "staff:x:50:\n"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in accounts.items():
            info = tarfile.TarInfo(path)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    api.put_archive(made["Id"], "/", buffer.getvalue())
    api.commit(made["Id"], name, changes=[f"USER {user}"])
    api.remove_container(made["Id"])
    yield name
    api.remove_image(name)


@pytest.mark.parametrize("kind", ["repository", "archive"])
def test_the_files_belong_to_the_user_of_the_image(
    bench: DockerBench, image: str, user: str, kind: str, tmp_path: Path
) -> None:
    ids = {
        "1234": "1234 0",
        "1234:99": "1234 99",
        "worker": "1000 1001",
        "worker:staff": "1000 50",
        "1000": "1000 1001",
    }

    async def scene() -> None:
        script = "stat -c '%u %g' . run.sh current slugs slugs/* | sort -u; sh check.sh; touch new slugs/new"
        await (await finished(bench, DockerPayload(image, ("sh", "-c", script)))).dispose()

    if kind == "archive":
        bench.source = make_archive(tmp_path / "project", tmp_path / "slugs.tar.gz")
    bench.run(scene)
    assert f"\n{ids[user]}\nall checks passed\n" in bench.log.text


def test_a_cache_hides_the_files_that_are_there(bench: DockerBench) -> None:
    """It never gets files of the source."""

    async def scene() -> list[str]:
        payload = DockerPayload("taskrunner-base", ("sh", "-c", "ls slugs; echo kept > slugs/kept"))
        engine = await bench.loaded(payload)
        lease = await bench.caches.exclusive("some")
        await engine.attach_cache(lease.folder, "slugs")
        results = await (await engine.start({})).wait()
        await results.dispose()
        await lease.commit()
        return [path.name for path in lease.folder.path.iterdir()]

    assert bench.run(scene) == ["kept"]
    assert "__init__" not in bench.log.text


@pytest.mark.parametrize("target", ["/work", "/work/", "."])
def test_a_cache_cannot_be_where_the_files_go(bench: DockerBench, target: str) -> None:
    async def scene() -> None:
        engine = await bench.loaded(DockerPayload("taskrunner-base", ("true",), working_dir="/work/here/.."))
        lease = await bench.caches.exclusive("some")
        try:
            with pytest.raises(MalformedPayload, match="where the files of the source go"):
                await engine.attach_cache(lease.folder, target)
        finally:
            await lease.commit()
            await engine.discard()

    bench.run(scene)


def test_names_of_any_bytes_and_length(bench: DockerBench, tmp_path: Path) -> None:
    long = "/".join(["n" * 60] * 4)
    names = {f"{long}/file": "long", "Größe": "umlaut", " space": "s"}
    make_repository(tmp_path / "odd", names)
    (tmp_path / "odd" / "link").symlink_to(f"{long}/file")
    git(tmp_path / "odd", "add", "link")
    git(tmp_path / "odd", "commit", "--quiet", "--message=link")
    bench.source = Source(str(tmp_path / "odd"))

    async def scene() -> None:
        script = "cat link Größe ' space'; echo"
        await (await finished(bench, DockerPayload("taskrunner-base", ("sh", "-c", script)))).dispose()

    bench.run(scene)
    assert "longumlauts\n" in bench.log.text


def test_hostile_content_that_only_a_walk_finds_ends_a_build_as_its_authors_fault(bench: DockerBench) -> None:
    async def scene() -> None:
        engine = await bench.loaded(DockerPayload(build=BuildSpec()))
        with pytest.raises(TaskFailed, match="the symbolic link link has a zero byte in it") as caught:
            await (await engine.start({})).wait()
        assert caught.value.reason == "clone-failed"

    raw = RawRepository()
    file, link = raw.blob(b"FROM taskrunner-base\nCOPY . /src\n"), raw.blob(b"a\0b")
    raw.commit(raw.tree(entry(b"100644", b"Dockerfile", file), entry(b"120000", b"link", link)))
    with serving_raw({"bad": raw}) as at:
        bench.source = Source(f"{at}bad")
        bench.run(scene)
