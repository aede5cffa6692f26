"""The one client of Docker: the version that it speaks, the errors that it reads, and calls that end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from taskrunner.connections import Connections
from taskrunner.errors import ConfigError, Unavailable
from taskrunner_docker.api import client as api
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError, read_refusal

LENGTH = 1 << 40  # bytes that a trickling answer promises


@asynccontextmanager
async def daemon(socket: Path, version: str = "1.41") -> AsyncIterator[str]:
    """Answers each ping with a version, and everything else a byte at a time. Yields its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        with suppress(ConnectionError):
            if b" /_ping " in head:
                writer.write(b"HTTP/1.0 200 OK\r\nApi-Version: %b\r\n\r\nOK" % version.encode())
                writer.close()
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LENGTH)
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0)

    async with await asyncio.start_unix_server(answer, str(socket)):
        yield f"unix://{socket}"


def version_of(socket: Path, version: str) -> str:
    async def main() -> str:
        async with daemon(socket, version) as host:
            client = await DockerClient.connect(host)
            client.dispose()
            return client.target("/x")

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("docker", "api", "spoken"),
    [
        ("18.09", "1.39", "1.39"),
        ("19.03", "1.40", "1.40"),
        ("20.10", "1.41", "1.41"),
        ("23.0", "1.42", "1.42"),
        ("24.0", "1.43", "1.43"),
        ("25.0", "1.44", "1.44"),
        ("27.5", "1.47", "1.47"),
        ("28.2", "1.50", "1.50"),
        ("29.0", "1.52", "1.52"),
        ("a later one, in which sessions are deprecated", "1.60", "1.52"),
    ],
)
def test_the_version_is_the_newest_that_both_sides_speak(tmp_path: Path, docker: str, api: str, spoken: str) -> None:
    """29 speaks none before 1.44, so that no version is written down anywhere."""
    assert version_of(tmp_path / "d.sock", api) == f"/v{spoken}/x", docker


def test_a_daemon_that_is_too_old_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Docker at .*sock is too old: it speaks API 1\.38"):
        version_of(tmp_path / "d.sock", "1.38")


@pytest.mark.parametrize("version", ["", "new", "1"])
def test_another_server_is_no_docker(tmp_path: Path, version: str) -> None:
    with pytest.raises(Unavailable, match="does not say which version"):
        version_of(tmp_path / "d.sock", version)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message":"no such image\\n"}', "no such image"),
        (b"gone \xff", "gone \ufffd"),
        (b"[]", "[]"),
        (b"", "no reason given"),
    ],
)
def test_a_refusal_is_read(body: bytes, message: str) -> None:
    error = read_refusal(404, body)
    assert (error.status, str(error)) == (404, message)


def test_every_way_to_docker_reads_the_same_refusal() -> None:
    name = "/containers/no-such/json"

    async def main() -> list[DockerError]:
        client, connections = await DockerClient.connect(""), Connections()
        found = []
        for ask in (
            lambda: client.call(client.api.inspect_container, "no-such"),
            lambda: client.stream("GET", name),
            lambda: asyncio.to_thread(client.exchange, connections, "GET", name),
            lambda: asyncio.to_thread(client.upgrade, connections, "/containers/no-such/attach", []),
        ):
            with pytest.raises(DockerError) as caught:
                await ask()
            found.append(caught.value)
        connections.close()
        client.dispose()
        return found

    assert {(error.status, str(error)) for error in asyncio.run(main())} == {(404, "No such container: no-such")}


def test_a_call_that_trickles_is_ended_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "CALL_TIMEOUT", 1)
    ended = threading.Event()

    async def main() -> None:
        async with daemon(tmp_path / "docker.sock") as host:
            client = await DockerClient.connect(host)

            def work() -> None:
                try:
                    client.api.containers()
                finally:
                    ended.set()

            with pytest.raises(Unavailable, match="has not answered within 1 seconds"):
                await client.call(work)
            assert ended.is_set()
            client.dispose()

    asyncio.run(main())


def test_a_cancelled_call_waits_for_its_function(tmp_path: Path) -> None:
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        release.wait()
        ended.set()

    async def main() -> None:
        async with daemon(tmp_path / "docker.sock") as host:
            client = await DockerClient.connect(host)
            calling = asyncio.create_task(client.call(work))
            await asyncio.to_thread(begun.wait)
            for _ in range(2):
                calling.cancel()
                await asyncio.sleep(0)
            assert not calling.done()
            release.set()
            await asyncio.wait([calling])
            assert calling.cancelled()
            assert ended.is_set()
            client.dispose()

    asyncio.run(main())
