"""A daemon that goes away, or stops answering, in the middle of a run."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner_docker import DockerOptions, DockerPayload
from taskrunner_docker.api import client
from tests.support.docker_bench import DockerBench, DockerState
from tests.support.docker_proxy import docker_proxy

SLEEPER = DockerPayload(image="taskrunner-base", command=("sh", "-c", "echo up; exec sleep 1000000"))


@pytest.fixture
def bench(tmp_path: Path, api: docker.APIClient, base_image: str) -> Iterator[DockerBench]:
    socket = tmp_path / "docker.sock"
    bench = DockerBench(tmp_path / "home", DockerOptions(host=f"unix://{socket}"), f"w-{uuid.uuid4().hex[:8]}")
    yield bench
    assert not DockerState.of(api, bench.worker_id, bench.home).containers


def test_a_restart_of_the_daemon_loses_the_run(bench: DockerBench, tmp_path: Path) -> None:
    async def main() -> None:
        async with docker_proxy(tmp_path / "docker.sock") as proxy:

            async def lose() -> None:
                execution = await (await bench.loaded(SLEEPER)).start({})
                await bench.log.until("up")
                await proxy.close_all()
                with pytest.raises(Unavailable, match="lost the connection to the container"):
                    await execution.wait()
                with pytest.raises(TaskFailedInternally, match="lost the connection"):
                    await execution.kill()
                await execution.abort()

            await bench.within(lose)

    asyncio.run(main())


def test_calls_to_a_daemon_that_does_not_answer_end(
    bench: DockerBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "CALL_TIMEOUT", 5)

    async def main() -> None:
        async with docker_proxy(tmp_path / "docker.sock") as proxy:

            async def wait_for_it() -> None:
                execution = await (await bench.loaded(SLEEPER)).start({})
                await bench.log.until("up")
                proxy.freeze()
                with pytest.raises(TaskFailedInternally, match="has not answered within 5 s"):
                    await execution.kill()
                with pytest.raises(TaskFailedInternally, match="has not answered within 5 s"):
                    await execution.abort()
                await proxy.close_all()
                await execution.abort()

            await bench.within(wait_for_it)

    asyncio.run(main())
