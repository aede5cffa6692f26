"""Proxies of a queue and services of a task, from the task's document to the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import attrs

from taskrunner.errors import NotSupported
from taskrunner.interfaces.attachments import ProxyHandler, Receive, Scope, Send, Service
from taskrunner.interfaces.queue import HeldClaim, Queue
from taskrunner.model import Claim
from taskrunner.testing.fakes.fetching import FAILING
from taskrunner.testing.fakes.platform import FakeEngine, FakePlatform
from tests.support.forwarding_queue import ForwardingQueue
from tests.worker.conftest import World

SERVICE = {
    "name": "db",
    "image": "database:1",
    "env": {"MODE": "test"},
    "secrets": {"PASSWORD": {"secret": "database"}},
    "ready": {"port": 5432},
    "limit": 9,
}


class ProxyingQueue(ForwardingQueue):
    """Its proxy answers the token of the claim, as it is at the request."""

    def proxies(self, held: HeldClaim) -> Mapping[str, ProxyHandler]:
        async def handler(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": f"token {held().token}\n".encode()})

        return {"tokens": handler}

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        return attrs.evolve(
            await super().reclaim(attrs.evolve(claim, token=self.inner_token), lease=lease), token="new"
        )

    inner_token = ""


class RenewingQueue(ProxyingQueue):
    """Each reclaim has another token, as credentials of a real queue; the queue behind it knows the first alone."""

    async def claim(self, n: int, *, lease: float, wait: float) -> Any:
        granted = await super().claim(n, lease=lease, wait=wait)
        for claim in granted:
            self.inner_token = claim.token
        return granted

    async def resolve(self, claim: Claim, resolution: Any) -> Any:
        return await super().resolve(attrs.evolve(claim, token=self.inner_token), resolution)


def test_a_proxy_asks_for_the_claim_as_it_is_at_each_request(world: World) -> None:
    queues: list[RenewingQueue] = []

    async def scene() -> None:
        await world.submit(run_for=300)
        await asyncio.sleep(10)
        handler = world.platform.run("t").proxies["tokens"]
        before = await _ask(handler)
        await asyncio.sleep(100)
        assert (before, await _ask(handler)) == (f"token {queues[0].inner_token}\n", "token new\n")
        assert (await world.ended()).resolution

    def wrap(inner: Queue) -> Queue:
        queues.append(RenewingQueue(inner))
        return queues[0]

    world.run(scene, wrap=wrap)


async def _ask(handler: ProxyHandler) -> str:
    sent: list[bytes] = []

    async def send(event: Any) -> None:
        sent.append(event.get("body", b""))

    await handler({"type": "http", "path": "/"}, _nothing, send)
    return b"".join(sent).decode()


async def _nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def test_a_platform_without_proxies_is_named(world: World, monkeypatch: Any) -> None:
    async def refuse(self: FakeEngine, name: str, handler: ProxyHandler) -> None:
        raise NotSupported("proxies")

    monkeypatch.setattr(FakeEngine, "attach_proxy", refuse)
    message = world.outcome(wrap=RenewingQueue)
    assert (
        message == "exception (malformed-payload): platform: the fake platform cannot give the proxy tokens of its "
        "queue to this run: proxies (run the task on another platform)"
    )


def test_a_service_gets_what_its_task_says(world: World) -> None:
    assert world.outcome(services=[SERVICE], fetch="http://db/").startswith("completed")
    env = {"MODE": "test", "PASSWORD": "value of database"}
    assert world.platform.run("t").services == {"db": Service("database:1", (), env, 5432, 9.0)}


def test_a_service_that_fails_fails_the_run(world: World) -> None:
    ended = world.outcome(services=[{**SERVICE, "image": FAILING}])
    assert ended == "failed (service-failed): the service db is not ready: its image says so"


def test_the_log_of_a_service_is_kept_and_has_no_secret(world: World, monkeypatch: Any) -> None:
    async def attach(self: FakeEngine, name: str, service: Service) -> None:
        log = self.run.context.new_log(name)
        password = service.env["PASSWORD"].encode()
        log.write(b"begins with " + password[:5])
        log.write(password[5:] + b"\n", "stdout")
        log.write(password, "stderr")
        log.mask("another secret")
        self.run.context.log.say("knows another secret too")

    monkeypatch.setattr(FakeEngine, "attach_service", attach)
    assert world.outcome(services=[SERVICE]).startswith("completed")

    async def read() -> bytes:
        return b"".join([piece async for piece in world.store.get(world.platform.run("t").key, "services/db.log")])

    log = asyncio.run(read())
    assert log.startswith(b"begins with ")
    assert b"value of database" not in log
    assert b"[taskrunner] completed after" in log
    assert "knows another secret" not in world.log()


def test_a_platform_without_services_is_named_before_the_run(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(FakePlatform, "takes_services", False)
    ended = world.outcome(services=[SERVICE])
    assert "services: the fake platform starts no services (remove them, or run the task on the docker" in ended


def test_a_platform_without_a_standard_input_is_named_before_the_run(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(FakePlatform, "takes_stdin", False)
    ended = world.outcome(interactive=True)
    assert "interactive: the fake platform keeps no standard input open (leave it out)" in ended
