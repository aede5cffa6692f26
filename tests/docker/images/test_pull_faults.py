"""Pulls through a proxy with faults, in front of a real registry: what is tried again, and what is not."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner_docker import DockerOptions, DockerPayload
from taskrunner_docker.registry import transfer
from tests.support.docker_bench import DockerBench
from tests.support.docker_proxy import docker_proxy
from tests.support.faulty_registry import Fault, faulty_registry
from tests.support.ports import free_port
from tests.support.registry import Registry

ALWAYS = sys.maxsize
LIMIT = 60.0  # seconds, reached only when something hangs
MANIFEST = "(GET|HEAD) .*/manifests/"
ATTEMPT = "HEAD .*/manifests/"
"""The first request for an image, which each attempt makes once."""
AGAIN = "trying again in"
NEVER = 1e6  # seconds of a pause that only a cancellation ends
Publish = Callable[[str], str]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSES", (0.0, 0.0))


def load(bench: DockerBench, image: str) -> None:
    async def scene() -> None:
        await (await bench.loaded(DockerPayload(image=image))).discard()

    bench.run(scene)


def at_first(bench: DockerBench, kind: Any) -> Fault:
    """Hits every request of the first attempt, and none of the next one."""
    return Fault(kind, MANIFEST, ALWAYS, lambda: AGAIN not in bench.log.text)


@pytest.mark.parametrize("kind", [429, 503, "reset"])
def test_what_passes_is_tried_again(bench: DockerBench, running: Registry, publish: Publish, kind: Any) -> None:
    image = publish(f"{running.host}/passes-{kind}:1")
    with faulty_registry(running.host, at_first(bench, kind)) as proxy:
        load(bench, f"{proxy.host}/passes-{kind}:1")
    assert f"passes-{kind}:1 is {image}" in bench.log.text
    assert (bench.log.text.count("pulling "), bench.log.text.count(AGAIN)) == (2, 1)


def test_a_fault_that_stays_ends_the_pull_after_the_last_attempt(bench: DockerBench, running: Registry) -> None:
    fault = Fault(503, MANIFEST, ALWAYS)
    with faulty_registry(running.host, fault) as proxy, pytest.raises(Unavailable, match="the registry may be down"):
        load(bench, f"{proxy.host}/stays:1")
    assert (bench.log.text.count("pulling "), bench.log.text.count(AGAIN)) == (3, 2)


@pytest.mark.parametrize(("status", "reason"), [(401, "login-failed"), (403, "pull-failed"), (404, "pull-failed")])
def test_a_refusal_for_good_is_not_tried_again(bench: DockerBench, running: Registry, status: int, reason: str) -> None:
    with faulty_registry(running.host, Fault(status, MANIFEST, ALWAYS)) as proxy, pytest.raises(TaskFailed) as caught:
        load(bench, f"{proxy.host}/for-good:1")
    assert caught.value.reason == reason
    assert bench.log.text.count("pulling ") == 1
    assert AGAIN not in bench.log.text


def test_an_image_that_the_registry_does_not_have_is_not_tried_again(bench: DockerBench, running: Registry) -> None:
    with pytest.raises(TaskFailed, match="manifest unknown") as caught:
        load(bench, f"{running.host}/nowhere:1")
    assert caught.value.reason == "pull-failed"
    assert bench.log.text.count("pulling ") == 1


def test_a_cancellation_ends_the_pause(bench: DockerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSES", (NEVER,))

    async def scene() -> None:
        loading = asyncio.create_task(bench.loaded(DockerPayload(image=f"127.0.0.1:{free_port()}/app:1")))
        await bench.log.until(AGAIN)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading

    bench.run(scene)
    assert bench.log.text.count("pulling ") == 1


def test_runs_that_share_a_pull_share_its_attempts(bench: DockerBench, running: Registry, publish: Publish) -> None:
    publish(f"{running.host}/shared:1")
    joined = threading.Event()
    fault = Fault(503, MANIFEST, ALWAYS, lambda: joined.wait(LIMIT) and AGAIN not in bench.log.text)

    async def scene() -> None:
        payload = DockerPayload(image=f"{proxy.host}/shared:1")
        loads = [asyncio.create_task(bench.loaded(payload)) for _ in range(3)]
        while bench.log.text.count("which another run pulls already") < 2:  # noqa: ASYNC110  the log gives no notice
            await asyncio.sleep(0)
        joined.set()
        for engine in await asyncio.gather(*loads):
            await engine.discard()

    with faulty_registry(running.host, fault) as proxy:
        bench.run(scene)
        assert proxy.count(ATTEMPT) == 2
    assert bench.log.text.count(AGAIN) == 3, "each run is told"


def test_only_the_last_policy_is_tried_again(bench: DockerBench) -> None:
    bench.options = DockerOptions(pull_policy=("always", "if-not-present"))
    with pytest.raises(Unavailable, match="connection refused"):
        load(bench, f"127.0.0.1:{free_port()}/app:1")
    first, _, last = bench.log.text.partition("trying if-not-present")
    assert (first.count("pulling "), last.count("pulling ")) == (1, 3)


def test_a_mirror_is_asked_again_as_well(bench: DockerBench, running: Registry, publish: Publish) -> None:
    image = publish(f"{running.host}/mirrored:1")
    down = f"127.0.0.1:{free_port()}"
    with faulty_registry(running.host, at_first(bench, 503)) as mirror:
        bench.options = DockerOptions(mirrors={down: (mirror.host,)})
        load(bench, f"{down}/mirrored:1")
    assert f"mirrored:1 is {image}" in bench.log.text
    assert bench.log.text.count(f"the mirror {mirror.host} does not give") == 1


def test_a_docker_that_does_not_answer_is_not_tried_again(
    bench: DockerBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: Registry
) -> None:
    monkeypatch.setattr(transfer, "PAUSES", (NEVER,))
    bench.options = DockerOptions(host=f"unix://{tmp_path / 'docker.sock'}", pull_policy=("always",))

    async def main() -> None:
        async with docker_proxy(tmp_path / "docker.sock") as proxy:

            async def scene() -> None:
                engine = await bench.engine()
                await proxy.refuse()
                with pytest.raises(Unavailable, match="Docker does not answer at"):
                    await engine.load(DockerPayload(image=f"{running.host}/app:1"))
                await proxy.recover()
                await engine.discard()

            await bench.within(scene)

    asyncio.run(main())
    assert AGAIN not in bench.log.text
