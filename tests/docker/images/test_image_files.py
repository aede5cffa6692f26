"""Runs whose image comes out of a file."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import docker
import pytest

from taskrunner.errors import TaskFailed
from taskrunner.schema.decode import decode
from taskrunner_docker import DockerOptions, DockerPayload
from taskrunner_docker.images.collection import ImageCollection
from tests.support.docker_bench import DockerBench
from tests.support.file_server import serving
from tests.support.saved_image import SavedImage, saved_image


@pytest.fixture
def saved(api: docker.APIClient) -> Iterator[SavedImage]:
    with saved_image(api) as saved:
        yield saved


def payload(**file: Any) -> DockerPayload:
    document = {"image_file": file, "command": ["sh", "-c", "echo from a file"], "network": "none"}
    return decode(DockerPayload, document)


async def run(bench: DockerBench, wanted: DockerPayload) -> int:
    results = await (await (await bench.loaded(wanted)).start({})).wait()
    await results.dispose()
    return results.exit_code


def test_runs_share_one_download_and_one_image_without_a_name(
    bench: DockerBench, api: docker.APIClient, saved: SavedImage
) -> None:
    async def scene(url: str) -> list[int]:
        wanted = payload(url=url, sha256=saved.sha256)
        codes = await asyncio.gather(run(bench, wanted), run(bench, wanted))
        assert api.inspect_image(saved.image_id)["RepoTags"] == []
        codes.append(await run(bench, wanted))
        await bench.platform_is_idle()
        await ImageCollection(bench.platform._housekeeping.store).remove_until(lambda total: total == 0)
        return codes

    with serving() as server:
        server.answers = [lambda exchange: exchange.send(200, saved.content)]
        assert bench.run(lambda: scene(server.url("/app.tar.gz"))) == [0, 0, 0]
        assert len(server.requests) == 1
    assert bench.log.text.count("from a file") == 3
    assert f"image of the file is {saved.image_id}" in bench.log.text
    with pytest.raises(docker.errors.ImageNotFound):
        api.inspect_image(saved.image_id)
    assert list(bench.home.glob("docker/images/*/files/*")) == []


def test_no_file_gives_a_name_to_its_image(
    bench: DockerBench, api: docker.APIClient, saved: SavedImage, tmp_path: Path
) -> None:
    hostile = tmp_path / "allowed" / "hostile.tar"
    hostile.parent.mkdir()
    victim = api.inspect_image("taskrunner-base")["Id"]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(saved.content))) as old, tarfile.open(hostile, "w") as new:
        for member in old.getmembers():
            content = old.extractfile(member) if member.isfile() else None
            data = content.read() if content else b""
            if member.name == "manifest.json":
                data = json.dumps([{**json.loads(data)[0], "RepoTags": ["taskrunner-base:latest"]}]).encode()
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    bench.source_options = attrs.evolve(bench.source_options, archives=(str(hostile.parent),))
    assert bench.run(lambda: run(bench, payload(path=str(hostile)))) == 0
    assert api.inspect_image("taskrunner-base")["Id"] == victim
    assert api.inspect_image(saved.image_id)["RepoTags"] == []


@pytest.mark.parametrize(
    ("path", "sha256", "message"),
    [
        ("/etc/hostname", "", "is not among the paths that this worker allows"),
        ("{}/image.tar", "0" * 64, "and not 0000"),
        ("{}/image.tar", "", "Docker does not load it: "),
        ("{}/none.tar", "", "is not there"),
    ],
)
def test_a_file_that_is_refused(bench: DockerBench, tmp_path: Path, path: str, sha256: str, message: str) -> None:
    bench.source_options = attrs.evolve(bench.source_options, archives=(str(tmp_path),))
    document = [{"Config": "config.json", "RepoTags": None, "Layers": ["gone.tar"]}]
    with tarfile.open(tmp_path / "image.tar", "w") as tar:
        for name, data in {"config.json": b"{}", "manifest.json": json.dumps(document).encode()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(TaskFailed, match=message) as caught:
        bench.run(lambda: run(bench, payload(path=path.format(tmp_path), sha256=sha256)))
    assert caught.value.reason == "image-refused"
    assert caught.value.message.startswith("image_file: ")


def test_an_image_that_docker_had_before_is_not_ours(
    bench: DockerBench, api: docker.APIClient, saved: SavedImage, tmp_path: Path
) -> None:
    (tmp_path / "image.tar").write_bytes(saved.content)
    api.load_image(saved.content)
    bench.options = decode(DockerOptions, {"image_cache": 0})
    bench.source_options = attrs.evolve(bench.source_options, archives=(str(tmp_path),))

    async def scene() -> int:
        code = await run(bench, payload(path=str(tmp_path / "image.tar")))
        await bench.platform_is_idle()
        return code

    assert bench.run(scene) == 0
    assert api.inspect_image(saved.image_id)["RepoTags"] == [saved.name]
