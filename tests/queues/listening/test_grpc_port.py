"""The doors of a gRPC port, tried by real clients and by raw sockets: each service beside them goes on."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc
from hyperframe.frame import PingFrame, SettingsFrame

from taskrunner.errors import Unavailable
from taskrunner.queues.listening import Address, BearerTokens, Listener
from taskrunner.queues.listening import grpc_port as subject
from tests.queues.listening.conftest import open_at, tls_options
from tests.support.authority import Authority

LIMIT = 20.0
CALL = "import grpc, sys; [*grpc.insecure_channel(f'127.0.0.1:{sys.argv[1]}').unary_stream('/a.B/C')(b'')]"
"""A client with one call."""
LOCAL = Listener(Address("127.0.0.1", 0))


@asynccontextmanager
async def serving(listener: Listener) -> AsyncIterator[int]:
    """The port of a server with health and reflection."""
    opened = subject.open_grpc_port(listener)
    health_pb2_grpc.add_HealthServicer_to_server(health_aio.HealthServicer(), opened.server)
    reflection.enable_server_reflection([reflection.SERVICE_NAME], opened.server)
    await opened.server.start()
    try:
        async with asyncio.timeout(LIMIT):
            yield opened.port
    finally:
        await opened.server.stop(0)
        await opened.server.wait_for_termination()


async def check(channel: grpc.aio.Channel) -> int:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=LIMIT)
    return int(answer.status)


async def services(channel: grpc.aio.Channel, size: int = 0, **options: Any) -> list[str]:
    """The services, as reflection lists them. `size` are bytes of the request."""
    request = reflection_pb2.ServerReflectionRequest(host="h" * size, list_services="")
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]), **options)
    async for answer in call:
        return [service.name for service in answer.list_services_response.service]
    raise EOFError


async def status_of(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def local(port: int) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])


def run(test: Callable[[], Any]) -> None:
    asyncio.run(test())


def test_a_port_without_options_takes_every_client() -> None:
    async def scene() -> None:
        async with serving(LOCAL) as port, local(port) as channel:
            assert await check(channel) == health_pb2.HealthCheckResponse.SERVING
            assert reflection.SERVICE_NAME in await services(channel)

    run(scene)


def test_with_tokens_a_call_needs_one_of_them_but_for_its_health() -> None:
    async def scene() -> None:
        listener = attrs.evolve(LOCAL, tokens=BearerTokens((b"old", b"new")))
        async with serving(listener) as port, local(port) as channel:
            sent = [(("authorization", f"Bearer {token}"),) for token in ("old", "new", "hunter2")]
            codes = [await status_of(services(channel, metadata=metadata)) for metadata in (*sent, None)]
            assert codes[:2] == [grpc.StatusCode.OK] * 2
            assert codes[2:] == [grpc.StatusCode.UNAUTHENTICATED] * 2
            assert await check(channel) == health_pb2.HealthCheckResponse.SERVING

    run(scene)


def test_a_message_beyond_the_limit_is_refused_and_the_connection_goes_on() -> None:
    async def scene() -> None:
        async with serving(attrs.evolve(LOCAL, max_message=1 << 16)) as port, local(port) as channel:
            assert await status_of(services(channel, 1 << 16)) is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await status_of(services(channel, 1 << 15)) is grpc.StatusCode.OK

    run(scene)


def test_metadata_beyond_the_limit_are_refused() -> None:
    async def scene() -> None:
        async with serving(LOCAL) as port, local(port) as channel:
            large = (("x-large", "x" * subject.MAX_HEADERS),)
            assert await status_of(services(channel, metadata=large)) is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await status_of(services(channel)) is grpc.StatusCode.OK

    run(scene)


async def connect(port: int) -> asyncio.StreamReader:
    """A connection that never says a word. It is closed with the loop's last reference to it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reader.writer = writer  # type: ignore[attr-defined]
    return reader


async def connect_silently(port: int) -> asyncio.StreamReader:
    """A connection without a call."""
    reader = await connect(port)
    reader.writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())  # type: ignore[attr-defined]
    return reader


async def ended(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1000):
            pass
    except ConnectionError:
        return
    finally:
        reader.writer.close()  # type: ignore[attr-defined]


def test_connections_beyond_the_limit_are_closed_at_once() -> None:
    async def scene() -> None:
        async with serving(attrs.evolve(LOCAL, max_connections=10)) as port:
            readers = [await connect(port) for _ in range(40)]
            closing = [asyncio.create_task(ended(reader)) for reader in readers]
            for closed in islice(asyncio.as_completed(closing), 29):  # gRPC's own count may be one lower
                await closed
            for task in closing:
                task.cancel()
            await asyncio.gather(*closing, return_exceptions=True)
            async with local(port) as channel:
                assert await check(channel) == health_pb2.HealthCheckResponse.SERVING

    run(scene)


def test_a_half_open_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "HANDSHAKE_TIMEOUT", 300)

    async def scene() -> None:
        async with serving(LOCAL) as port:
            await ended(await connect(port))

    run(scene)


def test_a_client_that_answers_no_ping_loses_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its system still acknowledges what it gets: it is stopped, or hangs."""
    monkeypatch.setattr(subject, "PING_EVERY", 1000)
    monkeypatch.setattr(subject, "PING_TIMEOUT", 500)

    async def scene() -> None:
        begun, ended_ = asyncio.Event(), asyncio.Event()

        async def call(_: Any, context: Any) -> None:
            await context.write(b"begun")
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended_.set()

        opened = subject.open_grpc_port(LOCAL)
        method = grpc.unary_stream_rpc_method_handler(call)
        opened.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", {"C": method}),))
        await opened.server.start()
        client = await asyncio.create_subprocess_exec(sys.executable, "-c", CALL, str(opened.port))
        try:
            async with asyncio.timeout(LIMIT):
                await begun.wait()
                client.send_signal(signal.SIGSTOP)
                await ended_.wait()
        finally:
            client.kill()
            await client.wait()
            await opened.server.stop(0)

    run(scene)


def test_a_client_that_answers_no_ping_loses_its_connection_without_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "PING_EVERY", 1000)
    monkeypatch.setattr(subject, "PING_TIMEOUT", 500)

    async def scene() -> None:
        async with serving(LOCAL) as port:
            await ended(await connect_silently(port))

    run(scene)


def test_a_client_may_ask_as_often_as_it_is_told_whether_the_server_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without a call. By default gRPC takes this for an attack, and ends the connection at the fourth ping."""
    monkeypatch.setattr(subject, "PINGS_APART", 0)

    async def scene() -> None:
        async with serving(LOCAL) as port:
            reader = await connect_silently(port)
            for number in range(10):
                asked = b"%08d" % number
                reader.writer.write(PingFrame(0, asked).serialize())  # type: ignore[attr-defined]
                await reader.readuntil(PingFrame(0, asked, flags=["ACK"]).serialize())
            reader.writer.close()  # type: ignore[attr-defined]

    run(scene)


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01" + bytes(500),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 90,
    ],
    ids=["HTTP/1.1", "TLS", "frames of no type"],
)
def test_what_is_no_http_2_ends_its_own_connection_only(words: bytes) -> None:
    async def scene() -> None:
        async with serving(LOCAL) as port, local(port) as channel:
            reader = await connect(port)
            reader.writer.write(words)  # type: ignore[attr-defined]
            await ended(reader)
            assert await check(channel) == health_pb2.HealthCheckResponse.SERVING

    run(scene)


def test_an_idle_connection_is_closed_and_its_client_comes_back() -> None:
    async def scene() -> None:
        async with serving(attrs.evolve(LOCAL, idle_timeout=1)) as port, local(port) as channel:
            await check(channel)
            while (state := channel.get_state()) is grpc.ChannelConnectivity.READY:
                await channel.wait_for_state_change(state)
            assert await check(channel) == health_pb2.HealthCheckResponse.SERVING

    run(scene)


def test_a_port_that_is_taken_may_be_free_later(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = attrs.evolve(LOCAL, address=Address("127.0.0.1", other.getsockname()[1]))

        async def scene() -> None:
            with pytest.raises(Unavailable, match=r"cannot listen at 127\.0\.0\.1"):
                subject.open_grpc_port(taken)

        run(scene)


def secure(port: int, authority: Authority, client: str = "") -> grpc.aio.Channel:
    pem = partial(Path.read_bytes)
    own = [pem(authority.folder / f"{client}.{end}") for end in ("key", "pem")] if client else [None, None]
    credentials = grpc.ssl_channel_credentials(pem(authority.file), *own)
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=[("grpc.use_local_subchannel_pool", 1)])


def test_with_a_certificate_the_port_speaks_tls_only(authority: Authority) -> None:
    listener = open_at(tls_options(authority), "agent://:0")

    async def scene() -> None:
        async with serving(listener) as port:
            async with secure(port, authority) as channel:
                assert await check(channel) == health_pb2.HealthCheckResponse.SERVING
            async with local(port) as channel:
                assert await status_of(check(channel)) is grpc.StatusCode.UNAVAILABLE

    run(scene)


def test_mutual_tls_takes_certificates_of_the_named_authority_only(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path)
    stranger.make()
    listener = open_at(tls_options(authority, client_ca=str(authority.file)), "agent://:0")

    async def scene() -> None:
        async with serving(listener) as port:
            async with secure(port, authority, "client") as channel:
                assert await check(channel) == health_pb2.HealthCheckResponse.SERVING
            async with secure(port, authority) as channel:
                assert await status_of(check(channel)) is grpc.StatusCode.UNAVAILABLE
            own = [(tmp_path / f"ca.{end}").read_bytes() for end in ("key", "pem")]
            credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), *own)
            async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
                assert await status_of(check(channel)) is grpc.StatusCode.UNAVAILABLE

    run(scene)
