"""Mirrors of registries: asked first, given up soon, and never to be seen in the name of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import docker
import pytest

from taskrunner_docker import DockerOptions, DockerPayload, DockerPlatform
from taskrunner_docker.images.mirrored_pull import at_mirror
from taskrunner_docker.registry.references import Reference
from tests.support.docker_bench import DockerBench
from tests.support.ports import free_port
from tests.support.registry import Registry, registry

Publish = Callable[[str], str]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("origin")) as listening:
        yield listening


@pytest.mark.parametrize(
    ("mirror", "image", "there"),
    [
        ("m.example", "busybox", "m.example/library/busybox"),
        ("m.example:5000/hub", "team/app:1", "m.example:5000/hub/team/app:1"),
        ("m.example", "r.example/app:1", "m.example/app:1"),
    ],
)
def test_where_a_mirror_has_an_image(mirror: str, image: str, there: str) -> None:
    assert str(at_mirror(mirror, Reference.parse(image))) == there


@pytest.mark.parametrize("mirror", ["https://m.example", "hub", "m.example/", "", "m.example/Hub"])
def test_a_mirror_that_is_no_place(mirror: str) -> None:
    [complaint] = DockerPlatform.check_options(DockerOptions(mirrors={"docker.io": ("m.example", mirror)}))
    assert complaint.path == 'mirrors."docker.io"[1]'


def load(bench: DockerBench, name: str) -> None:
    async def scene() -> None:
        await (await bench.loaded(DockerPayload(image=name))).discard()

    bench.run(scene)


def names(api: docker.APIClient, image: str) -> list[str]:
    found = api.inspect_image(image)
    return [*found["RepoTags"], *found["RepoDigests"]]


def test_an_image_from_a_mirror_has_its_own_name_alone(
    bench: DockerBench, running: Registry, publish: Publish, api: docker.APIClient
) -> None:
    host = f"127.0.0.1:{free_port()}"
    image = publish(f"{running.host}/copies/team/app:1")
    bench.options = DockerOptions(mirrors={host: (f"{running.host}/copies",)})
    load(bench, f"{host}/team/app:1")
    assert names(api, image) == [f"{host}/team/app:1"]
    assert f"pulling {running.host}/copies/team/app@sha256:" in bench.log.text


def test_what_a_mirror_does_not_give_comes_from_the_registry(
    bench: DockerBench, running: Registry, origin: Registry, publish: Publish, api: docker.APIClient
) -> None:
    down = f"127.0.0.1:{free_port()}"
    name = f"{origin.host}/app:1"
    image = publish(name)
    bench.options = DockerOptions(mirrors={origin.host: (running.host, down)})
    load(bench, name)
    assert api.inspect_image(image)["RepoTags"] == [name]
    assert f"the mirror {running.host} does not give {name}" in bench.log.text
    assert f"the mirror {down} does not give {name}" in bench.log.text


def test_a_pinned_image_from_a_mirror_is_found_again(
    bench: DockerBench, running: Registry, publish: Publish, api: docker.APIClient
) -> None:
    before = running.digests()
    image = publish(f"{running.host}/pinned:1")
    [digest] = running.digests() - before
    host = f"127.0.0.1:{free_port()}"
    bench.options = DockerOptions(mirrors={host: (running.host,)})
    for _ in range(2):
        load(bench, f"{host}/pinned@{digest}")
    assert bench.log.text.count("pulling ") == 1
    assert bench.log.text.count(f"is {image}, {digest} in its registry") == 2
