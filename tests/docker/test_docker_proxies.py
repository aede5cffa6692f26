"""Proxies of containers: with an identity that the container never has, and in a network without an interface."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection

import docker
import pytest

from taskrunner.blocking import run_blocking
from taskrunner.interfaces.attachments import ProxyHandler, Receive, Scope, Send
from taskrunner_docker import DockerPayload
from tests.support.docker_bench import DockerBench, DockerState
from tests.support.secret_search import command_lines, files_containing
from tests.support.small_server import QuietHandler, host_of, small_server

CREDENTIAL = f"credential-{uuid.uuid4().hex}"


class Guarded(QuietHandler):
    """A server that answers who knows the credential."""

    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == f"Bearer {CREDENTIAL}"
        body = f"the treasure of {self.path}\n" if allowed else "who are you?\n"
        self.answer(200 if allowed else 401, body.encode())


@pytest.fixture
def guarded() -> Iterator[str]:
    """Its host and port."""
    with small_server(Guarded) as server:
        yield host_of(server)


def authenticating(server: str) -> ProxyHandler:
    """Passes each request on, with the credential."""

    def get(path: str) -> bytes:
        with closing(HTTPConnection(server, timeout=10)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {CREDENTIAL}"})
            return connection.getresponse().read()

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        body = await run_blocking(lambda: get(scope["path"]), limit=20, doing="asking the server")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return handler


def test_a_container_reaches_a_server_by_a_credential_that_it_never_has(
    bench: DockerBench, api: docker.APIClient, guarded: str
) -> None:
    script = (
        "wget -q -O - http://vault/deep/path; env; cat /proc/1/environ /proc/net/tcp /etc/hosts; "
        f"wget -q -T 2 -O - http://{guarded}/ && exit 9; echo up; read go"
    )
    payload = DockerPayload(image="taskrunner-base", command=("sh", "-c", script), network="none")

    async def scene() -> tuple[str, int]:
        engine = await bench.loaded(payload)
        await engine.attach_proxy("vault", authenticating(guarded))
        execution = await engine.start({}, stdin=True)
        await bench.log.until("up\n")
        (container,) = DockerState.of(api, bench.worker_id, bench.home).runs
        inspected = json.dumps(api.inspect_container(container)) + command_lines()
        await execution.stdin.write(b"go\n")
        results = await execution.wait()
        await results.dispose()
        return inspected, results.exit_code

    inspected, exit_code = bench.run(scene)
    assert exit_code == 0, "without the proxy, the server cannot be reached"
    assert "the treasure of /deep/path" in bench.log.text
    assert "TASKRUNNER_PROXY_VAULT=http://vault/" in bench.log.text
    assert CREDENTIAL not in bench.log.text + inspected
    assert files_containing(bench.home, CREDENTIAL) == []


def test_neither_the_machine_nor_another_run_reaches_a_proxy(bench: DockerBench, guarded: str) -> None:
    def payload(script: str) -> DockerPayload:
        return DockerPayload(image="taskrunner-base", command=("sh", "-c", script), network="isolated")

    async def scene() -> int:
        engine = await bench.loaded(payload("read go"))
        await engine.attach_proxy("vault", authenticating(guarded))
        holder = await engine.start({}, stdin=True)
        ask = "for host in 127.100.0.1 vault; do wget -q -T 2 -O - http://$host/ && exit 9; done; exit 0"
        other = await (await bench.loaded(payload(ask))).start({})
        results = await other.wait()
        await results.dispose()
        await holder.abort()
        return results.exit_code

    assert bench.run(scene) == 0
    assert "treasure" not in bench.log.text
