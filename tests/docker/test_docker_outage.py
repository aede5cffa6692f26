"""A daemon that goes away, or stops answering, in the middle of a run."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import docker
import pytest

from taskrunner.errors import RunLost, TaskFailedInternally
from taskrunner.model import RunKey, Source
from taskrunner_docker import BuildSpec, DockerOptions, DockerPayload
from taskrunner_docker.api import client, watch
from taskrunner_docker.container import execution
from tests.support.docker_bench import DockerBench, DockerState, SourceRepository
from tests.support.docker_proxy import DockerProxy, docker_proxy
from tests.support.stalling_registry import stalling_registry

LIMIT = 20.0  # seconds for something to happen in the daemon

SLEEPER = DockerPayload(image="taskrunner-base", command=("sh", "-c", "echo up; exec sleep 1000000"))


@pytest.fixture
def bench(tmp_path: Path, api: docker.APIClient, base_image: str) -> Iterator[DockerBench]:
    socket = tmp_path / "docker.sock"
    bench = DockerBench(tmp_path / "home", DockerOptions(host=f"unix://{socket}"), f"w-{uuid.uuid4().hex[:8]}")
    yield bench
    assert not DockerState.of(api, bench.worker_id, bench.home).containers


def test_a_restart_of_the_daemon_loses_the_run(bench: DockerBench, tmp_path: Path, api: docker.APIClient) -> None:
    async def main() -> None:
        async with docker_proxy(tmp_path / "docker.sock") as proxy:

            async def lose() -> None:
                execution = await (await bench.loaded(SLEEPER)).start({})
                await bench.log.until("up")
                await proxy.close_all()
                with pytest.raises(RunLost, match="lost the connection to the container"):
                    await execution.wait()
                [container] = DockerState.of(api, bench.worker_id, bench.home).runs
                assert not api.inspect_container(container)["State"]["Running"], "the task may be run again now"
                with pytest.raises(TaskFailedInternally, match="lost the connection"):
                    await execution.kill()
                await execution.abort()

            await bench.within(lose)

    asyncio.run(main())


def test_calls_to_a_daemon_that_does_not_answer_end(
    bench: DockerBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with docker_proxy(tmp_path / "docker.sock") as proxy:

            async def wait_for_it() -> None:
                execution = await (await bench.loaded(SLEEPER)).start({})
                await bench.log.until("up")
                monkeypatch.setattr(client, "CALL_TIMEOUT", 1)
                proxy.freeze()
                with pytest.raises(TaskFailedInternally, match="has not answered within 1 s"):
                    await execution.kill()
                with pytest.raises(TaskFailedInternally, match="has not answered within 1 s"):
                    await execution.abort()
                monkeypatch.setattr(client, "CALL_TIMEOUT", 60)
                await proxy.recover()
                await execution.abort()

            await bench.within(wait_for_it)

    asyncio.run(main())


async def freeze(proxy: DockerProxy) -> None:
    proxy.freeze()


KINDS = {
    "accepts and says nothing": freeze,
    "cuts its answers": lambda proxy: proxy.cut(5),
    "refuses": lambda proxy: proxy.refuse(),
}


def lose_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a daemon counts as lost after a moment. One that is only busy must not, before it is sick."""
    monkeypatch.setattr(watch, "LOST_AFTER", 0.5)
    monkeypatch.setattr(client, "PING_TIMEOUT", 0.5)


@pytest.mark.parametrize("sick", KINDS.values(), ids=KINDS.keys())
def test_a_sick_daemon_costs_the_run_and_no_more(
    bench: DockerBench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sick: Callable[[DockerProxy], Awaitable[None]],
) -> None:
    """The run is lost, the platform takes no other, comes back by itself, and removes what was left."""
    monkeypatch.setattr(watch, "INTERVAL", 0.05)
    monkeypatch.setattr(execution, "_LOST_LIMIT", 0.2)

    async def health(*, fit: bool) -> None:
        while (await bench.platform.health()).fit is not fit:  # noqa: ASYNC110  as the worker asks, again and again
            await asyncio.sleep(0.01)

    async def main() -> None:
        async with docker_proxy(tmp_path / "docker.sock") as proxy:

            async def lose() -> None:
                running = await (await bench.loaded(SLEEPER)).start({})
                await bench.log.until("up")
                await health(fit=True)
                monkeypatch.setattr(client, "CALL_TIMEOUT", 1)
                lose_soon(monkeypatch)
                await sick(proxy)
                with pytest.raises(RunLost):
                    await running.wait()
                await health(fit=False)
                with pytest.raises(TaskFailedInternally, match="cannot be removed"):
                    await running.abort()
                await proxy.recover()
                monkeypatch.setattr(client, "CALL_TIMEOUT", 60)
                await health(fit=True)
                await bench.platform.clean_up_run(bench.worker_id, RunKey("task1", 0))

            await bench.within(lose)

    asyncio.run(main())  # the fixture sees that nothing is left


def test_a_build_ends_when_the_daemon_is_lost(
    bench: DockerBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "INTERVAL", 0.05)
    repository = SourceRepository(tmp_path / "repository")
    repository.commit({"Dockerfile": "FROM taskrunner-base\nRUN echo begun; exec sleep 1000000\n"})
    bench.source = Source(repository.url)

    async def main() -> None:
        async with docker_proxy(tmp_path / "docker.sock") as proxy:

            async def lose() -> None:
                running = await (await bench.loaded(DockerPayload(build=BuildSpec()))).start({})
                await bench.log.until("begun")
                lose_soon(monkeypatch)
                proxy.freeze()
                with pytest.raises(RunLost):
                    await running.wait()
                await proxy.recover()
                await running.abort()

            await bench.within(lose)

    asyncio.run(main())


def test_a_pull_that_is_cut_is_no_pull(bench: DockerBench, tmp_path: Path) -> None:
    async def main() -> None:
        async with docker_proxy(tmp_path / "docker.sock") as proxy:

            async def pull() -> None:
                loading = asyncio.create_task(bench.loaded(DockerPayload(image=f"{stalling.host}/app:1")))
                assert await asyncio.to_thread(stalling.came.wait, LIMIT)
                await proxy.close_all()
                with pytest.raises(RunLost):
                    await loading

            await bench.within(pull)

    with stalling_registry() as stalling:
        asyncio.run(main())


def test_a_call_without_an_answer_lets_the_platform_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that hangs in one place answers pings still."""

    async def answer() -> None:
        pass

    async def main() -> None:
        monkeypatch.setattr(watch, "REST_TIME", 1000.0)
        daemon = watch.DaemonWatch(answer)
        assert not daemon.problem
        daemon.note_silence("no answer within 120 s")
        assert daemon.problem == "no answer within 120 s"
        monkeypatch.setattr(watch, "REST_TIME", -1.0)
        daemon.note_silence("no answer within 120 s")
        assert not daemon.problem
        daemon.end()

    asyncio.run(main())


def test_a_daemon_that_goes_while_artifacts_are_read_loses_the_run(bench: DockerBench, tmp_path: Path) -> None:
    """They are in a container that nobody can ask any more: the task is run again."""
    script = "head -c 64000000 /dev/zero > /w/large"
    payload = DockerPayload(image="taskrunner-base", command=("sh", "-c", script), working_dir="/w")

    async def main() -> None:
        async with docker_proxy(tmp_path / "docker.sock") as proxy:

            async def lose() -> None:
                results = await (await (await bench.loaded(payload)).start({})).wait()
                pieces = aiter((await results.archive_file("large")).read())
                assert await anext(pieces)
                proxy.freeze()
                await proxy.close_all()
                with pytest.raises(RunLost, match="reading files out of the container failed"):
                    async for _ in pieces:
                        pass
                await results.dispose()

            await bench.within(lose)

    asyncio.run(main())
