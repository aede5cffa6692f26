"""Logs of runs that go on, read over HTTP while they grow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from taskrunner.errors import ClaimLost, ConfigError
from taskrunner.interfaces.plugin import QueueContext
from taskrunner.model import COMPLETED, Claim, Move, Secret
from taskrunner.queues.listening import ListenOptions
from taskrunner.queues.taskcluster.live_queue import LiveTaskclusterQueue
from taskrunner.queues.taskcluster.options import LiveLogOptions, TaskclusterOptions
from taskrunner.queues.taskcluster.queue import TaskclusterQueue
from tests.support.taskcluster.opened import claimed
from tests.support.taskcluster.server import ACCESS_TOKEN, CLIENT_ID, QUEUE, TaskclusterServer

BEGAN = Move("", "claim", "claimed")
LIVE = "public/logs/live.log"


@pytest.fixture
def server() -> Iterator[TaskclusterServer]:
    with TaskclusterServer(poll=0.1) as server:
        yield server


@asynccontextmanager
async def opened(
    server: TaskclusterServer, home: Path, listen: ListenOptions | None = None, *, address: str = "127.0.0.1:0"
) -> AsyncIterator[LiveTaskclusterQueue]:
    live = LiveLogOptions("https://worker.example:60098", address, listen or ListenOptions())
    options = TaskclusterOptions(CLIENT_ID, Secret("token"), root_url=server.url, worker_id="w-1", live_log=live)
    url = f"taskcluster://127.0.0.1/{QUEUE}"
    context = QueueContext("worker-1", home, lambda secret: {"token": ACCESS_TOKEN}.get(secret.name, "reader"), url=url)
    queue = await TaskclusterQueue.open(options, context)
    assert isinstance(queue, LiveTaskclusterQueue)
    try:
        yield queue
    finally:
        await queue.close()


async def url_of(queue: LiveTaskclusterQueue, server: TaskclusterServer, claim: Claim) -> str:
    """Where the artifact leads, at the port of this test."""
    await queue.moved(claim, BEGAN, None)
    reference = server.artifacts(claim.task_id)[LIVE]
    assert reference["storageType"] == "reference"
    public, _, path = str(reference["url"]).partition("/log/")
    assert public == "https://worker.example:60098"
    return f"http://127.0.0.1:{queue.live.port}/log/{path}"


def test_readers_get_all_of_a_log_whenever_they_come(server: TaskclusterServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(server, tmp_path) as queue, aiohttp.ClientSession() as web:
            claim = await claimed(queue, server)
            url = await url_of(queue, server, claim)
            async with web.get(url) as early:
                await queue.append_log(claim, 0, b"first\n")
                assert await early.content.readexactly(6) == b"first\n"
                await queue.append_log(claim, 6, b"second\n")
                await queue.append_log(claim, 6, b"second\n")  # its answer was lost
                async with web.get(url) as late:
                    await queue.resolve(claim, COMPLETED)
                    assert await late.read() == b"first\nsecond\n"
                assert await early.read() == b"second\n"
            async with web.get(url) as gone:
                assert gone.status == 404
            assert list((tmp_path / "taskcluster").iterdir()) == []

    asyncio.run(main())


def test_a_lost_run_ends_its_readers(server: TaskclusterServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(server, tmp_path) as queue, aiohttp.ClientSession() as web:
            claim = await claimed(queue, server)
            async with web.get(await url_of(queue, server, claim)) as reader:
                await queue.append_log(claim, 0, b"first\n")
                server.cancel("one")
                with pytest.raises(ClaimLost):
                    await queue.reclaim(claim, lease=60)
                assert await reader.read() == b"first\n"

    asyncio.run(main())


def test_the_link_of_a_finished_log_replaces_the_reference(server: TaskclusterServer, tmp_path: Path) -> None:
    spool = tmp_path / "log"
    spool.write_bytes(b"first\n")

    async def main() -> None:
        async with opened(server, tmp_path) as queue:
            claim = await claimed(queue, server)
            await url_of(queue, server, claim)
            await queue.artifacts(lambda: claim).put_log(claim.run, spool)
            assert server.artifacts("one")[LIVE]["storageType"] == "link"

    asyncio.run(main())


@pytest.mark.parametrize("path", ["/", "/log/", "/log/x", "/log/%2e%2e", "/../etc/passwd", "/log/%ff"])
def test_no_other_path_is_served(server: TaskclusterServer, tmp_path: Path, path: str) -> None:
    async def main() -> None:
        async with opened(server, tmp_path) as queue, aiohttp.ClientSession() as web:
            await url_of(queue, server, await claimed(queue, server))
            async with web.get(f"http://127.0.0.1:{queue.live.port}{path}") as refused:
                assert refused.status == 404

    asyncio.run(main())


def test_readers_may_need_a_token_and_are_bounded(server: TaskclusterServer, tmp_path: Path) -> None:
    async def main() -> None:
        listen = ListenOptions(tokens=(Secret("reader"),), max_connections=1)
        async with opened(server, tmp_path, listen) as queue, aiohttp.ClientSession() as web:
            claim = await claimed(queue, server)
            url = await url_of(queue, server, claim)
            async with web.get(url) as refused:
                assert refused.status == 401
            known = {"Authorization": "Bearer reader"}
            async with web.get(url, headers=known) as first:
                assert first.status == 200
                async with web.get(url, headers=known) as second:
                    assert second.status == 503

    asyncio.run(main())


def test_a_port_that_is_taken_is_the_operators(server: TaskclusterServer, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match="live_log: cannot listen"):
            async with opened(server, tmp_path, address=f"127.0.0.1:{server.port}"):
                pass

    asyncio.run(main())
