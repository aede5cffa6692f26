"""Which images are removed, and which ones never are."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import attrs
import docker
import pytest

from taskrunner_docker import DockerOptions, DockerPayload
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.images import housekeeping
from taskrunner_docker.images.collection import ImageCollection
from taskrunner_docker.images.housekeeping import Housekeeping
from taskrunner_docker.images.records import ImageRecords
from taskrunner_docker.images.store import ImageStore
from tests.support.docker_bench import DockerBench
from tests.support.registry import Registry

Publish = Callable[[str], str]
SIZE = 10_000  # bytes of an image


@attrs.define
class Images:
    """The images of a test, published and pulled by its worker: the first one was not used for the longest time."""

    bench: DockerBench
    api: docker.APIClient
    host: str
    publish: Publish
    names: list[str] = attrs.field(factory=list)

    def pull(self, count: int) -> list[str]:
        """The ids of new images, which the worker has pulled."""
        names = [f"{self.host}/{self.bench.worker_id}/app:{len(self.names) + number}" for number in range(count)]
        ids = [self.publish(name) for name in names]
        self.names += names

        async def load() -> None:
            for name in names:
                await (await self.bench.loaded(DockerPayload(image=name))).discard()

        self.bench.run(load)
        for number, image in enumerate(ids):
            path = next(self.bench.home.glob(f"docker/images/*/{image[7:]}.image"))
            os.utime(path, (1000 + number, 1000 + number))
        return ids

    def collect(self, most: int = 0) -> None:
        self.with_store(lambda store: ImageCollection(store).remove_until(lambda total: total <= most))

    def with_store(self, work: Callable[[ImageStore], Awaitable[object]]) -> None:
        async def main() -> None:
            client = await DockerClient.connect("")
            try:
                await work(ImageStore(client, self.bench.home))
            finally:
                client.dispose()

        asyncio.run(main())

    def has(self, image: str) -> bool:
        with suppress(docker.errors.ImageNotFound):
            return bool(self.api.inspect_image(image))
        return False


@pytest.fixture
def images(
    bench: DockerBench, running: Registry, publish: Publish, api: docker.APIClient, base_image: str
) -> Iterator[Images]:
    images = Images(bench, api, running.host, publish)
    yield images
    images.collect()
    assert not [*bench.home.glob("docker/images/*/bringing/*")]


def test_the_least_recently_used_go_first_and_only_as_many_as_needed(images: Images) -> None:
    first, second, third = images.pull(3)
    images.collect(most=2 * SIZE + 5000)
    assert [images.has(image) for image in (first, second, third)] == [False, True, True]
    images.collect()
    assert not images.has(second)
    assert not [*images.bench.home.glob("docker/images/*/*.image")]


def test_what_another_program_brought_is_never_removed(images: Images, api: docker.APIClient) -> None:
    name = f"{images.host}/{images.bench.worker_id}/theirs:1"
    theirs = images.publish(name)
    api.pull(name)
    images.names.append(name)

    async def load() -> None:
        for policy in ("if-not-present", "always"):
            await (await images.bench.loaded(DockerPayload(image=name, pull_policy=(policy,)))).discard()

    images.bench.options = DockerOptions(pull_policy=("if-not-present", "always"))
    images.bench.run(load)
    images.collect()
    assert images.has(theirs)


def test_an_image_that_another_program_has_named_is_left_to_it(images: Images, api: docker.APIClient) -> None:
    [image] = images.pull(1)
    api.tag(image, "mine", images.bench.worker_id)
    images.collect()
    assert images.has(images.names[0])
    api.remove_image(f"mine:{images.bench.worker_id}")


def test_an_image_with_a_container_is_kept(images: Images, api: docker.APIClient) -> None:
    [image] = images.pull(1)
    container = api.create_container(image, ["x"])["Id"]
    try:
        images.collect()
        assert images.has(images.names[0])
    finally:
        api.remove_container(container)


def test_an_image_that_a_run_is_about_to_use_is_kept_from_other_workers(images: Images) -> None:
    images.pull(1)
    other = DockerBench(images.bench.home, DockerOptions(image_cache=0), "another-worker")

    async def two_workers() -> None:
        engine = await images.bench.loaded(DockerPayload(image=images.names[0]))
        try:
            await other.within(other.platform_is_idle)
        finally:
            await engine.discard()

    images.bench.run(two_workers)
    assert images.has(images.names[0])


def test_an_image_whose_name_has_moved_is_removed_too(images: Images, api: docker.APIClient) -> None:
    [old] = images.pull(1)
    name = images.names[0]
    new = images.publish(name)
    api.tag(old, *name.rsplit(":", 1)) if images.has(old) else None
    images.bench.options = DockerOptions(pull_policy=("always",))
    images.bench.run(lambda: _load(images.bench, name))
    assert images.has(new)
    images.collect()
    assert not images.has(old)
    assert not images.has(new)


async def _load(bench: DockerBench, name: str) -> None:
    await (await bench.loaded(DockerPayload(image=name))).discard()


def test_an_image_of_a_worker_that_died_while_it_was_pulled_is_ours(images: Images, api: docker.APIClient) -> None:
    name = f"{images.host}/{images.bench.worker_id}/dead:1"
    image = images.publish(name)

    async def die(store: ImageStore) -> None:
        known = [each["Id"] for each in await store.listed()]
        _, file = (await store.records()).begin([name], known)
        api.pull(name)
        os.close(file)  # as the kernel does at the death of the worker
        collection = ImageCollection(store)
        await collection.settle()
        await collection.remove_until(lambda _: False)

    images.with_store(die)
    assert not images.has(image)


def test_a_full_disk_is_cleared_before_the_worker_is_unfit(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    [image] = images.pull(1)
    free = [10, 10, 10, 2000]
    monkeypatch.setattr(housekeeping, "_free_in", lambda _: free.pop(0) if len(free) > 1 else free[0])
    healths = []

    async def check(store: ImageStore) -> None:
        keeping = Housekeeping(store, DockerOptions(min_free_disk=1000))
        healths.append(await keeping.check_disk())
        healths.append(await Housekeeping(store, DockerOptions(min_free_disk=3000)).check_disk())

    images.with_store(check)
    assert healths[0].fit
    assert not images.has(image)
    assert healths[1].why.startswith("only 2,000 bytes are free for Docker in /")


def test_a_limit_of_bytes_is_kept_after_each_pull(images: Images) -> None:
    images.bench.options = DockerOptions(image_cache=SIZE + 5000)

    async def load() -> None:
        for name in names:
            await _load(images.bench, name)
        await images.bench.platform_is_idle()

    names = [f"{images.host}/{images.bench.worker_id}/limited:{number}" for number in range(2)]
    first, second = map(images.publish, names)
    images.bench.run(load)
    assert [images.has(first), images.has(second)] == [False, True]


def test_a_record_protects_and_a_removal_excludes(tmp_path: Path) -> None:
    records = ImageRecords(tmp_path / "images")
    image = "sha256:" + "a" * 64
    assert records.lease(image) is None
    records.note(image, ["a:1"])
    records.note(image, ["b:1"])
    [record] = records.all()
    assert (record.image_id, record.names) == (image, {"a:1", "b:1"})
    first, second = records.lease(image), records.lease(image)
    assert first
    assert second
    assert records.claim_removal(image) is None
    os.close(first)
    assert records.claim_removal(image) is None, "the second run still needs it"
    os.close(second)
    removal = records.claim_removal(image)
    assert removal
    records.forget(image)
    os.close(removal)
    assert records.lease(image) is None
