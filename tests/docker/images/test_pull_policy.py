"""Pull policies, one after the other, as the worker and the task choose them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import attrs
import docker
import pytest

from taskrunner.errors import MalformedPayload, TaskFailed
from taskrunner_docker import DockerOptions, DockerPayload
from taskrunner_docker.images.policy import policies
from taskrunner_docker.options import PullPolicy
from tests.support.docker_bench import DockerBench
from tests.support.ports import free_port
from tests.support.registry import Registry

Publish = Callable[[str], str]
ALWAYS, PRESENT, NEVER = "always", "if-not-present", "never"


@pytest.mark.parametrize(
    ("asked", "configured", "allowed", "chosen"),
    [
        ((), (PRESENT,), (), (PRESENT,)),
        ((), (ALWAYS, NEVER), (NEVER,), (ALWAYS, NEVER)),
        ((PRESENT,), (PRESENT,), (), (PRESENT,)),
        ((NEVER,), (ALWAYS, NEVER), (), (NEVER,)),
        ((NEVER, ALWAYS), (PRESENT,), (ALWAYS, NEVER), (NEVER, ALWAYS)),
    ],
)
def test_who_chooses_the_policy(
    asked: Sequence[PullPolicy],
    configured: tuple[PullPolicy, ...],
    allowed: tuple[PullPolicy, ...],
    chosen: Sequence[PullPolicy],
) -> None:
    assert policies(asked, DockerOptions(pull_policy=configured, allowed_pull_policies=allowed)) == chosen


def test_a_policy_that_is_not_allowed_names_the_setting() -> None:
    with pytest.raises(MalformedPayload) as caught:
        policies(("if-not-present", "never"), DockerOptions(pull_policy=("if-not-present",)))
    assert str(caught.value) == (
        "pull_policy[1]: this worker does not allow 'never' (take one of if-not-present, or let the operator add it to "
        "[docker] allowed_pull_policies)"
    )


def image_of(bench: DockerBench, name: str, *asked: PullPolicy) -> str:
    """The id of the image that a run gets."""

    async def load() -> None:
        await (await bench.loaded(DockerPayload(image=name, pull_policy=asked))).discard()

    bench.run(load)
    return next(line for line in reversed(bench.log.text.splitlines()) if f"image {name} is " in line)


def test_each_policy_with_a_registry(
    bench: DockerBench, running: Registry, publish: Publish, api: docker.APIClient
) -> None:
    name = f"{running.host}/policies/app:1"
    bench.options = DockerOptions(pull_policy=("if-not-present", "always", "never"))
    first = publish(name)
    with pytest.raises(TaskFailed, match="and the pull policy is `never`") as caught:
        image_of(bench, name, "never")
    assert caught.value.reason == "image-missing"
    assert first in image_of(bench, name, "if-not-present")
    second = publish_again(api, name, first, publish)
    assert first in image_of(bench, name, "if-not-present")
    assert first in image_of(bench, name, "never")
    assert second in image_of(bench, name, "always")


def publish_again(api: docker.APIClient, name: str, present: str, publish: Publish) -> str:
    """Another image under the same name, of which Docker has the first still."""
    new = publish(name)
    repository, _, tag = name.rpartition(":")
    api.tag(present, repository, tag) if exists(api, present) else api.pull(repository, tag)
    return new


def exists(api: docker.APIClient, image: str) -> bool:
    with suppress(docker.errors.ImageNotFound):
        return bool(api.inspect_image(image))
    return False


def test_a_registry_that_is_down_is_no_reason_to_fail(
    bench: DockerBench, api: docker.APIClient, base_image: str
) -> None:
    host = f"127.0.0.1:{free_port()}"
    bench.options = attrs.evolve(bench.options, pull_policy=("always", "if-not-present"))
    api.tag(base_image, f"{host}/app", "1")
    try:
        image_of(bench, f"{host}/app:1")
    finally:
        api.remove_image(f"{host}/app:1")
    assert "connection refused" in bench.log.text
    assert "the registry may be down; trying if-not-present" in bench.log.text
    assert "trying again" not in bench.log.text, "the image is there"


def test_an_image_is_pinned_by_its_digest(
    bench: DockerBench, running: Registry, publish: Publish, api: docker.APIClient
) -> None:
    name = f"{running.host}/pinned/app:1"
    before = running.digests()
    first = publish(name)
    [digest] = running.digests() - before
    publish(name)
    line = image_of(bench, f"{name}@{digest}")
    assert first in line
    assert f"{digest} in its registry" in line


def test_an_image_that_another_program_removes_meanwhile_is_brought_again(
    bench: DockerBench, running: Registry, publish: Publish, api: docker.APIClient
) -> None:
    name = f"{running.host}/removed/app:1"
    image = publish(name)

    async def start() -> str:
        engine = await bench.loaded(DockerPayload(image=name, command=("x",)))
        api.remove_image(name)
        execution = await engine.start({})
        results = await execution.wait()
        await results.dispose()
        return results.message

    assert "is not in the image" in bench.run(start)
    assert bench.log.text.count(f"image {name} is {image}") == 2
