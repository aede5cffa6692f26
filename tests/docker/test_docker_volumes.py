"""Volumes that an image declares: their files are results as any others, and they end with their container."""

from __future__ import annotations

import io
import tarfile
import uuid
from collections.abc import Iterator

import docker
import pytest

from taskrunner.interfaces.attachments import Service
from taskrunner.model import ArtifactSpec, RunKey, Source
from taskrunner.runs.upload.artifact_upload import collect
from taskrunner.testing.fakes.artifacts import MemoryStore
from taskrunner_docker import DockerPayload
from tests.support.docker_bench import DockerBench, SourceRepository

DOCKERFILE = b"""
FROM taskrunner-base
RUN mkdir -p /data/sub && echo image > /data/given.txt && ln -s given.txt /data/link
VOLUME /data
"""


@pytest.fixture
def image(api: docker.APIClient, base_image: str) -> Iterator[str]:
    name = f"taskrunner-volume-{uuid.uuid4().hex[:8]}"
    list(api.build(fileobj=io.BytesIO(DOCKERFILE), tag=name, rm=True))
    yield name
    api.remove_image(name, force=True)


def script(image: str, text: str, working_dir: str = "") -> DockerPayload:
    return DockerPayload(image=image, command=("sh", "-c", text), working_dir=working_dir)


async def kept(bench: DockerBench, payload: DockerPayload, *specs: ArtifactSpec) -> dict[str, bytes]:
    """The artifacts of a run, by their names."""
    results, store = await (await (await bench.loaded(payload)).start({})).wait(), MemoryStore()
    assert results.exit_code == 0, bench.log.text
    await collect(specs, results, store, RunKey("t", 0), bench.log.say, lambda _: None)
    await results.dispose()
    return {name: data for (_, name), data in store.bodies.items()}


def volumes(api: docker.APIClient, bench: DockerBench) -> set[str]:
    """The names of the volumes of the bench's containers."""
    mine = {"label": [f"taskrunner.worker={bench.worker_id}", f"taskrunner.home={bench.home}"]}
    found = api.containers(all=True, filters=mine)
    return {mount["Name"] for each in found for mount in each["Mounts"] if mount["Type"] == "volume"}


def are_gone(api: docker.APIClient, names: set[str]) -> bool:
    """Whether these volumes, of which there is at least one, are not there any more."""
    return bool(names) and not names & {found["Name"] for found in api.volumes()["Volumes"] or []}


def test_files_in_a_volume_of_the_image_are_kept(bench: DockerBench, image: str) -> None:
    text = "echo new > /data/sub/new.txt; ln -s /etc/hostname /data/out"
    specs = (
        ArtifactSpec("file", "/data/sub/new.txt"),
        ArtifactSpec("folder", "/data"),
        ArtifactSpec("pattern", "/data/**/*.txt"),
        ArtifactSpec("all.tar", "/data", archive=True),
    )
    found = bench.run(lambda: kept(bench, script(image, text), *specs))
    with tarfile.open(fileobj=io.BytesIO(found.pop("all.tar"))) as tar:
        members = {member.name: member.linkname for member in tar}
    assert members == {
        ".": "", "./given.txt": "", "./link": "given.txt", "./out": "/etc/hostname", "./sub": "", "./sub/new.txt": "",
    }  # fmt: skip
    assert found.pop("folder/out")
    assert found == {
        "file": b"new\n",
        "folder/given.txt": b"image\n",
        "folder/link": b"image\n",
        "folder/sub/new.txt": b"new\n",
        "pattern/given.txt": b"image\n",
        "pattern/sub/new.txt": b"new\n",
    }


def test_everything_of_a_working_folder_contains_its_volumes(bench: DockerBench, image: str) -> None:
    """A volume below the working folder, and a working folder below a volume."""
    everything = ArtifactSpec("all.tar", ".", archive=True)
    found = bench.run(lambda: kept(bench, script(image, "echo new > data/new.txt", "/"), everything))
    with tarfile.open(fileobj=io.BytesIO(found["all.tar"])) as tar:
        assert {"./data/new.txt", "./data/given.txt", "./etc/passwd"} <= set(tar.getnames())

    text = "echo new > new.txt; ln -s ../given.txt away"
    one, folder = ArtifactSpec("one", "new.txt"), ArtifactSpec("sub", ".")
    found = bench.run(lambda: kept(bench, script(image, text, "/data/sub"), one, folder))
    assert found == {"one": b"new\n", "sub/new.txt": b"new\n"}
    assert "left out: /data/sub/away is a link to /data/given.txt, which is outside of /data/sub" in bench.log.text


def test_a_source_goes_into_a_volume_of_the_image(bench: DockerBench, image: str) -> None:
    repository = SourceRepository(bench.home / "repository")
    repository.commit({"a.txt": "a"})
    bench.source = Source(repository.url)
    payload = script(image, "cat a.txt given.txt > both.txt", "/data")
    assert bench.run(lambda: kept(bench, payload, ArtifactSpec("both", "both.txt"))) == {"both": b"aimage\n"}


def test_volumes_of_the_task_and_of_its_services_end_with_the_run(
    bench: DockerBench, api: docker.APIClient, image: str
) -> None:
    async def run() -> set[str]:
        engine = await bench.loaded(script(image, "true"))
        await engine.attach_service("db", Service(image, ("sh", "-c", "echo > /data/up; exec sleep 1000")))
        of_service = volumes(api, bench)
        results = await (await engine.start({})).wait()
        of_task = volumes(api, bench)
        await results.dispose()
        return of_service | of_task if of_service and of_task - of_service else set()

    assert are_gone(api, bench.run(run))


@pytest.mark.parametrize("end", ["discard", "abort", "crash"])
def test_volumes_of_a_run_without_results_end_with_it(
    bench: DockerBench, api: docker.APIClient, image: str, end: str
) -> None:
    async def run() -> set[str]:
        engine = await bench.loaded(script(image, "echo > /data/x; exec sleep 1000"))
        await engine.attach_service("db", Service(image, ("sleep", "1000")))
        if end == "discard":
            found = volumes(api, bench)
            await engine.discard()
            return found
        execution = await engine.start({})
        found = volumes(api, bench)
        if end == "crash":
            await bench.platform.clean_up_after(bench.worker_id)
        await execution.abort()
        return found

    assert are_gone(api, bench.run(run))
