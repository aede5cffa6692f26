"""A loop of links in a container is the fault of whoever made it, the task or its image, and never the worker's."""

from __future__ import annotations

import io
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from taskrunner.errors import TaskFailed
from taskrunner.interfaces.results import Results
from taskrunner.model import Source
from taskrunner.schema.decode import decode
from taskrunner.testing.conformance.platform.harness import joined
from taskrunner_docker import DockerPayload
from tests.support.docker_bench import DockerBench
from tests.support.githttp import make_repository


@pytest.fixture(scope="module")
def image(base_image: str) -> Iterator[str]:
    """The base image with loops at `/loop` and `/two`, and instead of the list of users."""
    api = docker.APIClient(version="auto")
    name = f"loops-{uuid.uuid4().hex[:8]}"
    made = api.create_container("taskrunner-base", ["true"])
    try:
        api.put_archive(made["Id"], "/", links(loop="/loop", two="/three", three="two"))
        api.put_archive(made["Id"], "/etc", links(passwd="passwd", group="/etc/group"))
        api.commit(made["Id"], name)
    finally:
        api.remove_container(made["Id"])
    yield name
    api.remove_image(name, force=True)
    api.close()


def links(**targets: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, target in targets.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return buffer.getvalue()


@pytest.fixture
def bench(tmp_path: Path, base_image: str) -> DockerBench:
    return DockerBench(tmp_path / "home", worker_id=f"w-{uuid.uuid4().hex[:8]}")


def payload(script: str, image: str = "taskrunner-base", **more: object) -> DockerPayload:
    return decode(DockerPayload, {"image": image, "command": ["sh", "-c", script], **more})


async def finished(bench: DockerBench, what: DockerPayload) -> Results:
    return await (await (await bench.loaded(what)).start({})).wait()


def test_artifacts_that_are_loops_or_behind_one_are_not_there(bench: DockerBench) -> None:
    script = """
        ln -s me me; ln -s b a; ln -s a b; mkdir out; ln -s ../out/x out/x; ln -s ../me out/me; echo kept > out/file
        ln -s me/deeper through; ln -s /w/me absolute
    """
    paths = ["me", "a", "me/below", "out/x", "through", "absolute", "/w/me", "/w/a/b", "out/me/x"]

    async def look() -> list[str]:
        results = await finished(bench, payload(script, working_dir="/w"))
        try:
            for path in paths:
                with pytest.raises(FileNotFoundError):
                    await results.archive_file(path)
                with pytest.raises(FileNotFoundError):
                    await anext(aiter(results.archive_folder(path)))
            names = []
            async for entry in results.archive_folder("out"):
                names.append(entry.name)
                assert await joined(entry.read()) == b"kept\n"
            return names
        finally:
            await results.dispose()

    assert bench.run(look) == ["file"]


def test_a_working_folder_that_becomes_a_loop_has_no_artifacts(bench: DockerBench) -> None:
    async def look() -> None:
        results = await finished(bench, payload("cd / && rmdir /w && ln -s /w /w", working_dir="/w"))
        try:
            for path in ("x", "/w/x", "."):
                with pytest.raises(FileNotFoundError):
                    await results.archive_file(path)
        finally:
            await results.dispose()

    bench.run(look)


@pytest.mark.parametrize(("folder", "has_source"), [("/loop", False), ("/loop/below", True), ("/two", True)])
def test_a_working_folder_that_is_a_loop_in_the_image(
    bench: DockerBench, image: str, tmp_path: Path, folder: str, has_source: bool
) -> None:
    if has_source:
        make_repository(tmp_path / "web", {"a": "1\n"})
        bench.source = Source(str(tmp_path / "web"))
    with pytest.raises(TaskFailed) as caught:
        bench.run(lambda: finished(bench, payload("true", image, working_dir=folder)))
    assert caught.value.reason == "start-failed"


@pytest.mark.parametrize("target", ["/loop", "/two/below"])
def test_a_cache_in_a_loop(bench: DockerBench, image: str, target: str) -> None:
    async def start() -> None:
        engine = await bench.loaded(payload("true", image))
        lease = await bench.caches.exclusive("some")
        try:
            await engine.attach_cache(lease.folder, target)
            await engine.start({})
        finally:
            await engine.discard()
            await lease.discard()

    with pytest.raises(TaskFailed) as caught:
        bench.run(start)
    assert caught.value.reason == "start-failed"


def test_lists_of_users_that_are_loops_count_as_none(
    bench: DockerBench, image: str, api: docker.APIClient, tmp_path: Path
) -> None:
    make_repository(tmp_path / "web", {"a": "1\n"})
    bench.source = Source(str(tmp_path / "web"))
    made = api.create_container(image, ["true"])
    users = f"{image}-user"
    api.commit(made["Id"], users, changes="USER 7:8")
    api.remove_container(made["Id"])
    try:
        with pytest.raises(TaskFailed) as caught:
            bench.run(lambda: finished(bench, payload("true", users)))
        assert caught.value.reason == "start-failed"
    finally:
        api.remove_image(users, force=True)


def test_a_step_in_a_loop_fails_alone(bench: DockerBench) -> None:
    steps = [{"run": "ln -s /w/me me"}, {"run": "true", "working_dir": "me"}]
    what = decode(DockerPayload, {"image": "taskrunner-base", "steps": steps, "working_dir": "/w"})

    async def run() -> Results:
        results = await finished(bench, what)
        await results.dispose()
        return results

    assert bench.run(run).exit_code != 0


def test_a_command_that_is_a_loop(bench: DockerBench, image: str) -> None:
    with pytest.raises(TaskFailed) as caught:
        bench.run(lambda: finished(bench, decode(DockerPayload, {"image": image, "command": ["/loop"]})))
    assert caught.value.reason == "start-failed"
