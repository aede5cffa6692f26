"""What one run can take of its worker by a proxy is limited. The clients here are plain sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from taskrunner.interfaces.attachments import ProxyHandler, Receive, Scope, Send
from taskrunner.proxies.bounded_handler import BoundedHandler
from taskrunner.proxies.connection import BoundedConnection
from taskrunner.proxies.path_token import TokenGuard
from taskrunner.proxies.server import ProxyServer

LIMIT = 30
"""Seconds of one test, reached only when something hangs."""


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers the path, and how many bytes the body has."""
    size, more = 0, True
    while more:
        event = await receive()
        size, more = size + len(event.get("body", b"")), event.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": f"{scope['path']} {size}".encode()})


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("the password is s3cret")


async def stream_for_ever(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(handler: ProxyHandler) -> AsyncIterator[int]:
    """The port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = await ProxyServer.serve(listener, handler)
    try:
        async with asyncio.timeout(LIMIT):
            yield listener.getsockname()[1]
    finally:
        await server.close()
        await server.close()


async def answer(port: int, request: bytes) -> bytes:
    """Everything up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def get(path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n".encode()


def test_a_body_is_read_at_the_pace_of_the_handler_and_up_to_a_limit() -> None:
    async def post() -> None:
        async with serving(BoundedHandler(echo, "api", print, max_body=100)) as port:
            head = b"POST / HTTP/1.1\r\nHost: api\r\nContent-Length: %d\r\n\r\n"
            assert b"/ 100" in await answer(port, head % 100 + bytes(100))
            refused = await answer(port, head % 10_000_000 + bytes(200))
            assert refused.startswith(b"HTTP/1.1 413 ")
            assert b"larger than 100 bytes" in refused

    run(post)


def test_a_body_that_does_not_come_is_given_up() -> None:
    async def post() -> None:
        async with serving(BoundedHandler(echo, "api", print, stall_timeout=0.05)) as port:
            stalled = await answer(port, b"POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 9\r\n\r\n1")
            assert stalled.startswith(b"HTTP/1.1 408 ")

    run(post)


@pytest.mark.parametrize("turns", range(6))
def test_a_connection_that_comes_at_the_moment_of_the_end_is_cut(turns: int) -> None:
    """Accepted, but not yet begun: `turns` are those of the loop between the client's call and the end."""

    async def end() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        server = await ProxyServer.serve(listener, echo)
        with socket.create_connection(address, LIMIT) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            await server.close()
            client.setblocking(False)
            async with asyncio.timeout(LIMIT):
                with suppress(ConnectionError):
                    assert await asyncio.get_running_loop().sock_recv(client, 1) == b""

    run(end)


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\nHost:"])
def test_a_client_that_sends_no_request_is_disconnected(beginning: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "request_timeout", 0.05)

    async def wait() -> None:
        async with serving(echo) as port:
            assert await answer(port, beginning) == b""

    run(wait)


def test_a_client_that_takes_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "stall_timeout", 0.05)
    ended = asyncio.Event()

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        streaming = asyncio.create_task(stream_for_ever(scope, receive, send))
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        ended.set()
        streaming.cancel()

    async def wait() -> None:
        async with serving(stream) as port:
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(get())
            await ended.wait()
            client.close()

    run(wait)


def test_there_are_no_more_connections_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "max_connections", 3)

    async def connect() -> None:
        async with serving(echo) as port:
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            assert await answer(port, get()) == b""
            for _, writer in idle:
                writer.close()
                await writer.wait_closed()
            while b"200 OK" not in await answer(port, get()):
                """The server has not seen the end of the others yet."""

    run(connect)


def test_a_head_of_a_request_has_a_limit() -> None:
    async def ask() -> None:
        async with serving(echo) as port:
            refused = await answer(port, b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)
            assert refused.startswith(b"HTTP/1.1 400 ")

    run(ask)


def test_an_error_of_the_handler_is_a_line_of_the_log_and_shows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []

    async def ask() -> None:
        async with serving(BoundedHandler(fail, "api", lines.append)) as port:
            failed = await answer(port, get())
            assert failed.startswith(b"HTTP/1.1 502 ")
            assert b"s3cret" not in failed

    run(ask)
    assert lines == ["the proxy api has failed: ValueError"]
    assert not caplog.records


def test_requests_under_way_end_with_the_run() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    async def ask() -> None:
        async with serving(BoundedHandler(hang, "api", print)) as port:
            asking = asyncio.create_task(answer(port, get()))
            await begun.wait()
        assert cancelled.is_set()
        assert await asking == b""
        with pytest.raises(ConnectionError):
            await answer(port, get())

    run(ask)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/TOKEN/a/b%20c", b"/a/b c 0"), ("/TOKEN", b"/ 0"), ("/TOKEN/", b"/ 0"), ("/", b"404"), ("/other/a", b"404")],
)
def test_only_who_knows_the_token_reaches_the_handler(path: str, expected: bytes) -> None:
    async def ask() -> None:
        guard = TokenGuard(echo)
        async with serving(guard) as port:
            assert expected in await answer(port, get(path.replace("TOKEN", guard.token)))

    run(ask)


def test_the_token_is_in_no_text_of_the_guard() -> None:
    guard = TokenGuard(echo)
    assert guard.token not in repr(guard)
