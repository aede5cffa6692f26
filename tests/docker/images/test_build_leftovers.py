"""What builds leave in Docker: BuildKit's cache, and images that have lost their name. On a daemon of its own, since
the cache belongs to all who build on it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from taskrunner.model import Source
from taskrunner_docker import BuildSpec, DockerOptions, DockerPayload
from tests.support.docker_bench import DockerBench, SourceRepository
from tests.support.own_docker import own_docker

TAG = "app:dev"


def test_both_are_removed_within_the_limits(tmp_path: Path) -> None:
    repository = SourceRepository(tmp_path / "repository")
    bench = DockerBench(tmp_path / "home", source=Source(repository.url))

    def built(**limits: int) -> tuple[str, list[str], int]:
        """The image of one more build, all images, and the bytes of the cache."""
        bench.options = DockerOptions(host=daemon.host, local_tags=("app",), **limits)
        result = bench.run(lambda: _build(bench))
        ids = [image["Id"] for image in api.images()]
        cache = sum(record["Size"] for record in api.df()["BuildCache"] or () if not record["Shared"])
        return str(result["image_id"]), ids, cache

    with own_docker() as daemon, closing(daemon.client()) as api:
        daemon.load_base_image()
        repository.commit({"Dockerfile": "FROM taskrunner-base\nCOPY . /app\n", "file": "1" * 100_000})
        first, _, cache = built()
        assert cache >= 100_000
        repository.commit({"file": "2" * 100_000})
        second, images, _ = built()
        assert {first, second} <= {*images}
        repository.commit({"file": "3" * 100_000})
        third, images, cache = built(image_cache=0, build_cache=50_000)
        assert {first, second}.isdisjoint(images), "they have lost their name"
        assert third in images
        assert cache <= 150_000, "the context of this build is still held; the layers of the first two are not"
        assert api.inspect_image("taskrunner-base"), "nobody of this home has brought it"


async def _build(bench: DockerBench) -> Any:
    execution = await (await bench.loaded(DockerPayload(build=BuildSpec(tags=(TAG,))))).start({})
    results = await execution.wait()
    document = await results.deliver()
    await results.dispose()
    await bench.platform_is_idle()
    return document
