"""A port under attack: floods, slow peers, half requests, readers that do not read. The worker goes on claiming."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from taskrunner.errors import ConfigError, Unavailable
from taskrunner.model import Submission
from taskrunner.queues.http import requests
from taskrunner.queues.listening.http_port import PortConnection
from tests.support.authority import Authority
from tests.support.http_server import TOKEN, HttpServer, http_server, received

GOOD = {"platform": "process", "command": ["true"]}
AUTH = f"Authorization: Bearer {TOKEN}\r\n".encode()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of a connection are over in no time."""
    monkeypatch.setattr(PortConnection, "request_timeout", 0.5)
    monkeypatch.setattr(PortConnection, "stall_timeout", 0.5)
    monkeypatch.setattr(requests, "BODY_LIMIT", 0.5)


@pytest.fixture
def server(tmp_path: Path, short: None) -> Iterator[HttpServer]:
    with http_server(tmp_path, max_connections=20) as server:
        yield server


def submit(server: HttpServer, task_id: str) -> int:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    return httpx.put(f"{server.url}/v1/tasks/{task_id}", content=json.dumps(GOOD), headers=headers).status_code


def test_a_request_that_comes_bit_by_bit_is_cut(server: HttpServer) -> None:
    head = b"PUT /v1/tasks/slow HTTP/1.1\r\nHost: localhost\r\n" + AUTH
    beginnings = {
        "nothing": b"",
        "half a line": b"PUT /v1",
        "half a head": head,
        "half a body": head + b"Content-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
        "a second request": b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he",
    }
    for beginning in beginnings.values():
        with server.connect() as connection:
            connection.sendall(beginning)
            assert b"200" not in received(connection).partition(b"ok\n")[2], beginning
    assert submit(server, "after") == 201
    assert server.claim().task_id == "after"


def test_a_client_that_reads_nothing_is_cut(server: HttpServer) -> None:
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(400):  # answers that nobody takes, of requests in one connection
            try:
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n" + AUTH + b"\r\n")
            except ConnectionError:
                break
        server.wait_for_no_connection()
    assert submit(server, "after") == 201
    assert server.claim().task_id == "after"


def test_a_flood_of_connections_leaves_the_worker_claiming(tmp_path: Path) -> None:
    with http_server(tmp_path, max_connections=20) as server, ExitStack() as stack:
        flood = [stack.enter_context(closing(server.connect())) for _ in range(200)]
        assert sum(received(connection) == b"" for connection in flood[20:]) == 180, "those beyond are closed at once"
        server.do(lambda queue: queue.submit(Submission("meanwhile", GOOD)))
        assert server.claim().task_id == "meanwhile"
        for connection in flood:
            connection.close()
        server.wait_for_no_connection()
        assert submit(server, "after") == 201
        assert server.claim().task_id == "after"


def test_many_connections_are_reset_half_open(server: HttpServer) -> None:
    for _ in range(50):
        connection = server.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close sends RST
        connection.sendall(b"GET /v1/tasks/none/events HTTP/1.1\r\nHost: localhost\r\n" + AUTH + b"\r\n")
        connection.close()
    server.wait_for_no_connection()
    assert submit(server, "after") == 201
    assert server.claim().task_id == "after"


def test_without_tokens_only_loopback_names_are_served(tmp_path: Path) -> None:
    with http_server(tmp_path, tokens=()) as server:
        by_name = {host: httpx.get(f"{server.url}/v1/tasks", headers={"Host": host}).status_code for host in HOSTS}
        assert by_name == HOSTS
        page = httpx.post(f"{server.url}/v1/tasks/x/cancel", headers={"Origin": "http://evil.example"})
        assert page.status_code == 403


HOSTS = {"localhost": 200, "127.0.0.1:80": 200, "[::1]:80": 200, "evil.example": 403, "127.0.0.1.evil.example": 403}


def test_a_port_with_a_certificate_speaks_tls_and_wants_the_clients(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.make()
    for name in ("server", "client"):
        authority.certificate(name, "IP:127.0.0.1")
    files = {"certificate": str(tmp_path / "server.pem"), "key": str(tmp_path / "server.key")}
    with http_server(tmp_path / "home", url="https://", client_ca=str(authority.file), **files) as server:
        verified = ssl.create_default_context(cafile=str(authority.file))
        with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
            httpx.get(f"{server.url}/health", verify=verified)
        verified.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
        assert httpx.get(f"{server.url}/health", verify=verified).text == "ok\n"


def test_what_cannot_listen_says_so(tmp_path: Path) -> None:
    with http_server(tmp_path) as server, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match="cannot listen"), http_server(tmp_path / "other", port=port):
            pass
        assert server.url
    with pytest.raises(ConfigError, match="certificate"), http_server(tmp_path, url="https://"):
        pass
    with pytest.raises(ConfigError, match="file="), http_server(tmp_path, query="?x=1"):
        pass
