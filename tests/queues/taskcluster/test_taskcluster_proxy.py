"""The proxy of a run: what it asks for is signed with the credentials of its claim, and with no other scopes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from taskrunner.interfaces.attachments import ProxyHandler
from taskrunner.interfaces.queue import HeldClaim
from taskrunner.queues.taskcluster.queue import TaskclusterQueue
from tests.support.taskcluster.opened import PAYLOAD, claimed, opened
from tests.support.taskcluster.server import TaskclusterServer

WANTED = {**PAYLOAD, "features": {"taskclusterProxy": True}}


@pytest.fixture
def server() -> Iterator[TaskclusterServer]:
    with TaskclusterServer(poll=0.1) as server:
        yield server


@attrs.frozen
class Answered:
    status: int
    headers: dict[bytes, bytes]
    body: bytes


async def ask(
    proxy: ProxyHandler, method: str, path: str, body: bytes = b"", headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Answered:
    """One request, as an ASGI server makes it."""
    sent: list[Any] = []
    route, _, query = path.partition("?")
    length = ((b"content-length", str(len(body)).encode()),) if body else ()
    scope = {
        "type": "http", "method": method, "path": route, "raw_path": route.encode(), "query_string": query.encode(),
        "headers": [(b"host", b"taskcluster"), *headers, *length],
    }  # fmt: skip

    async def send(message: Any) -> None:
        sent.append(message)

    await proxy(scope, _in_two_pieces(body), send)
    start, *rest = sent
    return Answered(start["status"], dict(start["headers"]), b"".join(each["body"] for each in rest))


def _in_two_pieces(body: bytes) -> Any:
    pieces = [body[:1], body[1:]]

    async def receive() -> dict[str, Any]:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    return receive


def proxy_of(queue: TaskclusterQueue, held: HeldClaim) -> ProxyHandler:
    [(name, proxy)] = queue.proxies(held).items()
    assert name == "taskcluster"
    return proxy


def test_only_a_task_that_asks_for_it_has_a_proxy(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            assert queue.proxies(lambda: claim) == {}

    asyncio.run(main())


@pytest.mark.parametrize("prefix", ["/api/queue/v1", "/queue/v1"])
def test_a_request_is_signed(server: TaskclusterServer, prefix: str) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server, WANTED)
            proxy = proxy_of(queue, lambda: claim)
            wanted = {"storageType": "reference", "url": "https://a.example", "contentType": "text/html"}
            body = json.dumps({**wanted, "expires": server.tasks.find("one").definition["expires"]}).encode()
            forged = ((b"authorization", b"Hawk id=x"), (b"content-type", b"application/json"))
            said = await ask(proxy, "POST", f"{prefix}/task/one/runs/0/artifacts/public/a%20b", body, forged)
            assert (said.status, json.loads(said.body)) == (200, {"storageType": "reference"})
            assert server.artifacts("one")["public/a b"]["url"] == "https://a.example"
            assert server.seen[-1].client_id.startswith("task-client/one/0/")

    asyncio.run(main())


def test_the_scopes_of_the_worker_are_out_of_reach(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server, WANTED)
            proxy = proxy_of(queue, lambda: claim)
            for report in ("completed", "reclaim"):
                said = await ask(proxy, "POST", f"/api/queue/v1/task/one/runs/0/{report}")
                assert said.status == 403
            assert server.runs("one") == ["running"]

    asyncio.run(main())


def test_the_scopes_of_the_task_are_within_reach(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server, WANTED, scopes=["queue:status:other"])
            server.create("other", PAYLOAD)
            proxy = proxy_of(queue, lambda: claim)
            assert (await ask(proxy, "GET", "/api/queue/v1/task/other/status?limit=1")).status == 200
            assert (await ask(proxy, "GET", "/api/queue/v1/task/one/status")).status == 403

    asyncio.run(main())


def test_a_reclaim_renews_the_credentials(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server, WANTED, scopes=["queue:status:*"])
            proxy = proxy_of(queue, lambda: claim)
            server.advance(1100)
            claim = await queue.reclaim(claim, lease=60)
            server.advance(1100)
            assert (await ask(proxy, "GET", "/api/queue/v1/task/one/status")).status == 200

    asyncio.run(main())


@pytest.mark.parametrize(
    "path",
    ["/", "/credentials", "/bewit", "/api/queue", "/api/../login", "/api/queue/v1/../x", "//evil/v1/x", "*"],
)
def test_a_path_of_no_service_is_refused(server: TaskclusterServer, path: str) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server, WANTED)
            before = len(server.calls())
            assert (await ask(proxy_of(queue, lambda: claim), "GET", path)).status == 404
            assert len(server.calls()) == before

    asyncio.run(main())


def test_a_service_that_does_not_answer_is_a_bad_gateway(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server, WANTED)
            server.fault("status", "drop", times=2)  # the client tries a GET twice
            said = await ask(proxy_of(queue, lambda: claim), "GET", "/api/queue/v1/task/one/status")
            assert said.status == 502
            assert claim.token.encode() not in said.body

    asyncio.run(main())
