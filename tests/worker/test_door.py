"""The door: real sockets, and clients that behave badly."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from taskrunner.errors import Unavailable
from taskrunner.worker.door import server
from taskrunner.worker.door.address import listen, short_name
from taskrunner.worker.door.client import ask
from taskrunner.worker.door.protocol import MAX_LINE
from taskrunner.worker.door.server import MAX_CONNECTIONS, Door
from tests.support.door import ID, RecordingWorker

STATUS = b'{"version": 1, "verb": "status"}\n'


class Place:
    def __init__(self, home: Path, runs: int = 0) -> None:
        self.home, self.worker = home, RecordingWorker(runs)
        self.warnings: list[str] = []
        self.clients: list[asyncio.StreamWriter] = []
        self.path = home / "workers" / f"{ID}.sock"

    def run(self, scene: Callable[[], Awaitable[None]], *, limit: float = 30.0) -> None:
        """Opens the door, performs the scene, and closes the door again. Nothing of it is left."""

        async def main() -> None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.door = door = Door(self.worker, self.warnings.append, request_limit=limit, answer_limit=limit)
            async with asyncio.timeout(60):
                async with door.open(self.path):
                    await scene()
                assert asyncio.all_tasks() == {asyncio.current_task()}
                for client in self.clients:
                    client.close()
                    with suppress(ConnectionError):
                        await client.wait_closed()

        threads = threading.active_count()
        asyncio.run(main())
        assert threading.active_count() == threads
        assert list(self.path.parent.iterdir()) == []

    async def no_connections(self) -> None:
        while self.door._connections:  # noqa: ASYNC110  the kernel has the event
            await asyncio.sleep(0)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        self.clients.append(writer)
        return reader, writer

    async def exchange(self, *pieces: bytes) -> list[dict[str, Any]]:
        """Sends this, and returns every answer until the worker closes the connection."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
        writer.write_eof()
        return [json.loads(line) async for line in reader]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_verbs_reach_the_worker(place: Place) -> None:
    async def scene() -> None:
        assert (await ask(place.home, ID, "status"))["worker_id"] == ID
        await ask(place.home, ID, "pause", seconds=None)
        await ask(place.home, ID, "pause", seconds=90.0)
        await ask(place.home, ID, "resume")
        await ask(place.home, ID, "drain", now=True)

    place.run(scene)
    assert place.worker.orders == ["pause None", "pause 90.0", "resume", "drain True"]


def test_one_connection_takes_many_requests_also_in_one_piece(place: Place) -> None:
    async def scene() -> None:
        answers = await place.exchange(STATUS * 300, b'{"version": 1, ', b'"verb": "resume"}\n')
        assert len(answers) == 301
        assert all(answer["ok"] and answer["version"] == 1 for answer in answers)

    place.run(scene)


@pytest.mark.parametrize(
    ("line", "fault", "message"),
    [
        (b"\n", "malformed", "no JSON object"),
        (b"\xff\xfe\0\n", "malformed", "no JSON object"),
        (b"[1]\n", "malformed", "no JSON object"),
        (b"[" * 10000 + b"\n", "malformed", "no JSON object"),
        (b"GET / HTTP/1.1\r\n", "malformed", "no JSON object"),
        (b"{}\n", "unsupported-version", "version 1"),
        (b'{"version": 2, "verb": "status"}\n', "unsupported-version", "version 1"),
        (b'{"version": 1}\n', "malformed", "verb: is missing"),
        (
            b'{"version": 1, "verb": ["status"]}\n',
            "malformed",
            "verb: is missing or not known here (known are attach, drain,",
        ),
        (b'{"version": 1, "verb": "statu"}\n', "malformed", "did you mean status?"),
        (b'{"version": 1, "verb": "status", "all": true}\n', "malformed", "all: is not known here"),
        (b'{"version": 1, "verb": "pause", "seconds": "ten"}\n', "malformed", "seconds: expected"),
        (b'{"version": 1, "verb": "pause", "seconds": -1}\n', "malformed", "seconds: must be at least 0 s"),
        (b'{"version": 1, "verb": "pause", "seconds": NaN}\n', "malformed", "seconds:"),
        (b'{"version": 1, "verb": "pause", "seconds": 1e12}\n', "malformed", "seconds: must be at most"),
        (b'{"version": 1, "verb": "drain", "now": 1}\n', "malformed", "now: expected"),
        (b'{"version": 1, "verb": "status"}', "malformed", "no line feed at its end"),
    ],
)
def test_garbage_gets_an_answer_that_names_the_fault(place: Place, line: bytes, fault: str, message: str) -> None:
    async def scene() -> None:
        [answer] = await place.exchange(line)
        assert (answer["ok"], answer["error"]) == (False, fault)
        assert message in answer["message"]

    place.run(scene)
    assert place.worker.orders == []


def test_the_connection_goes_on_after_a_malformed_request(place: Place) -> None:
    async def scene() -> None:
        assert [answer["ok"] for answer in await place.exchange(b"what?\n", STATUS)] == [False, True]

    place.run(scene)


def test_a_line_that_is_too_long_is_refused_and_ends_the_connection(place: Place) -> None:
    async def scene() -> None:
        reader, writer = await place.connect()
        writer.write(b"x" * (MAX_LINE * 4))
        assert json.loads(await reader.readline())["error"] == "too-long"
        with suppress(ConnectionResetError):  # what the worker did not read is lost
            assert await reader.read() == b""
        assert (await ask(place.home, ID, "status"))["state"] == "claiming"

    place.run(scene)


def test_a_client_that_says_nothing_or_half_a_request_is_disconnected(place: Place) -> None:
    async def scene() -> None:
        for begin in (b"", b'{"version": 1'):
            reader, writer = await place.connect()
            writer.write(begin)
            assert json.loads(await reader.readline())["error"] == "too-slow"
            assert await reader.read() == b""

    place.run(scene, limit=0.05)


def test_a_client_that_does_not_read_its_answers_is_disconnected(tmp_path: Path) -> None:
    place = Place(tmp_path, runs=1000)

    async def scene() -> None:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, str(place.path))
        await loop.sock_sendall(client, STATUS * 100)
        while not place.door._connections:  # noqa: ASYNC110  the same
            await asyncio.sleep(0)
        await place.no_connections()
        client.close()

    place.run(scene, limit=0.05)


def test_a_flood_of_connections_leaves_the_worker_at_work(place: Place) -> None:
    async def scene() -> None:
        first = [await place.connect() for _ in range(MAX_CONNECTIONS)]
        for reader, writer in first:  # all of them are accepted
            writer.write(STATUS)
            assert json.loads(await reader.readline())["ok"]
        flood = [await place.connect() for _ in range(100)]
        for reader, _ in flood:
            assert json.loads(await reader.readline())["error"] == "busy"
        with pytest.raises(Unavailable, match="refuses: this worker has 16 connections already"):
            await ask(place.home, ID, "status")
        for _, writer in first:
            writer.close()
        await place.no_connections()
        assert (await ask(place.home, ID, "status"))["state"] == "claiming"

    place.run(scene)


def test_open_connections_do_not_keep_the_door_from_closing(place: Place) -> None:
    async def scene() -> None:
        for _ in range(MAX_CONNECTIONS):
            _, writer = await place.connect()
            writer.write(b'{"version": 1')
        with pytest.raises(Unavailable):
            await ask(place.home, ID, "status")

    place.run(scene)


def test_an_error_in_the_worker_is_answered_and_told(place: Place) -> None:
    async def scene() -> None:
        place.worker.broken = True
        with pytest.raises(Unavailable, match="the worker has failed to answer"):
            await ask(place.home, ID, "status")
        place.worker.broken = False
        assert await ask(place.home, ID, "status")

    place.run(scene)
    assert place.warnings == ["a request could not be answered: ZeroDivisionError: no identity"]


def test_a_worker_that_does_not_answer_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskrunner.worker.door.client.LIMIT", 0.1)
    place.path.parent.mkdir()
    with listen(place.path), pytest.raises(Unavailable, match="worker ci-7-3f has not answered"):
        asyncio.run(ask(place.home, ID, "status"))


def test_a_worker_without_a_door_is_named(place: Place) -> None:
    with pytest.raises(Unavailable, match="worker ci-7-3f cannot be asked: No such file"):
        asyncio.run(ask(place.home, ID, "status"))


def test_a_socket_of_a_dead_worker_is_replaced(place: Place) -> None:
    place.path.parent.mkdir()
    listen(place.path).close()
    (place.path.parent / f"{ID}.sock.new").mkdir()  # killed while it made the socket

    async def scene() -> None:
        assert await ask(place.home, ID, "status")

    place.run(scene)


def test_a_socket_that_cannot_be_made_is_told_and_stops_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path)
    done: list[bool] = []

    async def main() -> None:
        async with Door(place.worker, place.warnings.append).open(tmp_path / "missing" / f"{ID}.sock"):
            done.append(True)

    asyncio.run(main())
    assert done
    [warning] = place.warnings
    assert "missing/ci-7-3f.sock cannot be made (No such file or directory)" in warning


@pytest.mark.parametrize("depth", [1, 3])
def test_a_home_deeper_than_an_address_is_long_works(tmp_path: Path, depth: int) -> None:
    place = Place(tmp_path.joinpath(*["d" * 200] * depth))

    async def scene() -> None:
        assert (await ask(place.home, ID, "status"))["worker_id"] == ID

    place.run(scene)


def test_a_long_name_works_on_systems_without_proc(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["d" * 200] * 3)
    folder.mkdir(parents=True)
    (folder / "file").write_text("found")
    with short_name(folder / "file", tmp_path / "no-proc") as name:
        assert len(name) <= 100
        assert Path(name).read_text() == "found"
    assert not Path(name).exists()


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_another_account_cannot_reach_the_socket_even_for_a_moment(tmp_path: Path, mask: int) -> None:
    """At each system call after the socket was made, it has no permission for others, or its folder has none."""
    tmp_path.chmod(0o755)
    path, nursery, seen, watching = tmp_path / "w.sock", tmp_path / "w.sock.new", [], [True]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event.startswith(("os.", "socket.")) and (nursery / "s").is_socket():
            modes = [stat.S_IMODE(each.stat().st_mode) & 0o077 for each in (nursery, nursery / "s")]
            seen.append((event, min(modes)))

    sys.addaudithook(watch)
    with umask(mask), listen(path):
        watching.clear()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert seen
    assert all(least == 0 for _, least in seen), seen


def test_limits_are_those_of_the_documentation() -> None:
    assert (server.MAX_CONNECTIONS, server.REQUEST_LIMIT, server.ANSWER_LIMIT) == (16, 10.0, 10.0)
