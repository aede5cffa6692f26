"""The doors of a WebSocket port, tried by real clients and by raw sockets: a client beside them is served."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import Frame, Opcode

from taskrunner.errors import Unavailable
from taskrunner.queues.listening import Address, BearerTokens, Listener
from taskrunner.queues.listening import websocket_port as subject
from tests.queues.listening.conftest import open_at, tls_options
from tests.support.authority import Authority

LIMIT = 20.0
LOCAL = Listener(Address("127.0.0.1", 0))
SMALL = attrs.evolve(LOCAL, max_message=64 << 10)


async def echo(connection: ServerConnection) -> None:
    async for frame in connection:
        await connection.send(frame)


@asynccontextmanager
async def serving(listener: Listener, handle: subject.Handle = echo) -> AsyncIterator[int]:
    async with asyncio.timeout(LIMIT), subject.open_websocket_port(listener, handle) as port:
        yield port


async def echoes(port: int, **options: Any) -> bool:
    scheme = "wss" if "ssl" in options else "ws"
    async with connect(f"{scheme}://127.0.0.1:{port}", **options) as client:
        await client.send("hello")
        return bool(await client.recv() == "hello")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic hunter22", "hunter22"])
def test_a_client_without_the_token_gets_401(header: str) -> None:
    async def main() -> None:
        async with serving(attrs.evolve(LOCAL, tokens=BearerTokens((b"hunter22",)))) as port:
            headers = {"Authorization": header} if header else {}
            with pytest.raises(InvalidStatus) as caught:
                await echoes(port, additional_headers=headers)
            assert caught.value.response.status_code == 401
            assert caught.value.response.headers["WWW-Authenticate"] == "Bearer"
            assert await echoes(port, additional_headers={"Authorization": "Bearer hunter22"})

    asyncio.run(main())


def test_two_tokens_in_one_request_are_none() -> None:
    async def main() -> None:
        async with serving(attrs.evolve(LOCAL, tokens=BearerTokens((b"hunter22",)))) as port:
            headers = [("Authorization", "Bearer hunter22"), ("Authorization", "Bearer wrong")]
            with pytest.raises(InvalidStatus):
                await echoes(port, additional_headers=headers)

    asyncio.run(main())


def test_mutual_tls_lets_in_clients_of_the_authority_only(authority: Authority) -> None:
    listener = open_at(tls_options(authority, client_ca=str(authority.file)), "launcher://127.0.0.1:0")
    trusting = ssl.create_default_context(cafile=str(authority.file))

    async def main() -> None:
        async with serving(listener) as port:
            with pytest.raises((OSError, EOFError, WebSocketException)):
                await echoes(port, ssl=trusting)
            trusting.load_cert_chain(authority.folder / "client.pem", authority.folder / "client.key")
            assert await echoes(port, ssl=trusting)

    asyncio.run(main())


def test_a_port_that_is_taken_is_tried_again_later() -> None:
    async def main() -> None:
        async with serving(LOCAL) as port:
            with pytest.raises(Unavailable, match="cannot listen"):
                async with serving(Listener(Address("127.0.0.1", port))):
                    """Not reached."""

    asyncio.run(main())


def test_a_message_that_is_too_large_ends_its_connection_only() -> None:
    async def main() -> None:
        async with (
            serving(attrs.evolve(LOCAL, max_message=64 << 10)) as port,
            connect(f"ws://127.0.0.1:{port}") as client,
        ):
            await client.send("x" * (64 << 10))
            assert len(await client.recv()) == 64 << 10
            await client.send("x" * ((64 << 10) + 1))
            with pytest.raises(ConnectionClosed) as caught:
                await client.recv()
            assert caught.value.rcvd
            assert caught.value.rcvd.code == 1009
            assert await echoes(port)

    asyncio.run(main())


def test_a_message_in_endless_parts_ends_its_connection() -> None:
    async def main() -> None:
        async with (
            serving(attrs.evolve(LOCAL, max_message=64 << 10)) as port,
            connect(f"ws://127.0.0.1:{port}") as client,
        ):

            async def parts() -> AsyncIterator[str]:
                while True:
                    yield "x" * 1000

            with pytest.raises(ConnectionClosed):
                await client.send(parts())

    asyncio.run(main())


def test_connections_beyond_the_limit_are_cut_and_the_port_is_open_again() -> None:
    async def main() -> None:
        async with serving(attrs.evolve(LOCAL, max_connections=3)) as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await cut(reader)
            writer.close()
            for _, writer in held:
                writer.transport.abort()
            while not await echoes_soon(port):
                """The port is told of their end."""

    asyncio.run(main())


async def cut(reader: asyncio.StreamReader) -> bool:
    try:
        return not await reader.read(1)
    except ConnectionError:
        return True


async def echoes_soon(port: int) -> bool:
    try:
        return await echoes(port)
    except (OSError, EOFError, WebSocketException):  # it was cut, at any point
        return False


def test_a_peer_without_a_pong_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "PING_EVERY", 0.05)
    monkeypatch.setattr(subject, "PING_TIMEOUT", 0.05)
    monkeypatch.setattr(subject, "CLOSE_TIMEOUT", 0.05)
    ended = asyncio.Event()

    async def wait(connection: ServerConnection) -> None:
        await connection.wait_closed()
        ended.set()

    async def main() -> None:
        async with serving(LOCAL, wait) as port:
            reader, writer = await upgrade(port)
            assert (await reader.readexactly(1))[0] & 0x0F == Opcode.PING
            await ended.wait()
            writer.transport.abort()

    asyncio.run(main())


def test_a_connection_without_a_request_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "HANDSHAKE_TIMEOUT", 0.05)

    async def main() -> None:
        async with serving(LOCAL) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
            assert await cut(reader)
            writer.close()

    asyncio.run(main())


async def upgrade(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that says nothing more by itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


KEY = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n" + KEY + b"Sec-WebSocket-Version: 13\r\n\r\n"

Speak = Callable[[asyncio.StreamWriter], Awaitable[None]]


def frame(opcode: Opcode, data: bytes = b"", *, mask: bool = True) -> bytes:
    return Frame(opcode, data).serialize(mask=mask)


RAW: dict[str, bytes] = {
    "nothing": b"",
    "half a request": b"GET / HT",
    "bytes that are no HTTP": bytes(range(256)) * 8,
    "another protocol": b"SSH-2.0-x\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a request without an upgrade": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    "a line without an end": b"GET /" + b"x" * 100_000,
    "a thousand headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000,
    "no key": REQUEST.replace(b"Sec-WebSocket-Key", b"X-Key"),
    "an old version": REQUEST.replace(b"Version: 13", b"Version: 8"),
    "a frame without a mask": REQUEST + frame(Opcode.TEXT, b"x", mask=False),
    "an opcode that does not exist": REQUEST + b"\x83\x80\0\0\0\0",
    "reserved bits": REQUEST + b"\xf1\x80\0\0\0\0",
    "a frame of 8 EiB": REQUEST + b"\x81\xff\x7f" + b"\xff" * 7,
    "a ping of 126 bytes": REQUEST + b"\x89\xfe\x00\x7e" + bytes(130),
    "a ping in parts": REQUEST + b"\x09\x80\0\0\0\0",
    "a part without a begin": REQUEST + frame(Opcode.CONT, b"x"),
    "a text that is no UTF-8": REQUEST + frame(Opcode.TEXT, b"\xff\xfe"),
    "a close without a reason": REQUEST + frame(Opcode.CLOSE),
    "a close with half a code": REQUEST + frame(Opcode.CLOSE, b"\x03"),
    "a thousand pings": REQUEST + frame(Opcode.PING, b"x") * 1000,
    "a thousand messages": REQUEST + frame(Opcode.TEXT, b"{}") * 1000,
}


@pytest.mark.parametrize("name", RAW)
def test_hostile_connections_leave_the_port_open(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(LOCAL) as port:
            writers = []
            for _ in range(3):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(RAW[name])
                writers.append(writer)
            assert await echoes(port)
            for writer in writers:
                writer.transport.abort()

    asyncio.run(main())
    assert caplog.text == "", "no client can fill the log"


def test_the_end_of_the_port_waits_for_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "CLOSE_TIMEOUT", 0.05)

    async def main() -> None:
        async with serving(LOCAL) as port:
            held = [await asyncio.open_connection("127.0.0.1", port), await upgrade(port)]
        for _, writer in held:
            writer.transport.abort()

    asyncio.run(main())
