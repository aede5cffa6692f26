"""Builds that are cancelled, and daemons that go away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskrunner import blocking
from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.interfaces.log import LogStream
from taskrunner.testing import MemoryLog
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.buildkit import build
from taskrunner_docker.buildkit.solve import _Build
from tests.docker.buildkit.conftest import Builder

SOCKET = "/var/run/docker.sock"
THREADS = ("image-build", "build-session", "build-cancel")


@pytest.fixture(autouse=True)
def threads_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "IDLE_TIME", 0.01)


def process_with(word: str) -> int:
    """The id of the process whose arguments have this word."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in arguments:
            return int(folder.name)
    raise LookupError(word)


def has_exited(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    try:
        return bool(poll.poll(0))
    finally:
        os.close(pidfd)


def threads_of_builds() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREADS)]


def assert_no_threads() -> None:
    for thread in threads_of_builds():
        thread.join(60)
    assert threads_of_builds() == []


def test_cancelling_ends_the_command_and_leaves_nothing(builder: Builder) -> None:
    word = f"8{int(builder.label[:6], 16)}"
    started = f"started-{word}"

    async def scenario() -> None:
        request = builder.request(f"FROM BASE\nRUN echo started-$((0+{word})); sleep {word}")
        building = asyncio.create_task(builder.run(request))
        await builder.logged(f" {started}\n")
        pidfd = os.pidfd_open(process_with(word))
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building
        assert has_exited(pidfd), "nothing of it is alive when the cancellation has come back"

    asyncio.run(scenario())
    assert_no_threads()
    assert builder.images() == []


def test_cancelling_at_once_is_a_cancellation(builder: Builder) -> None:
    async def scenario() -> None:
        client = await DockerClient.connect("")
        request = builder.request("FROM BASE\nRUN sleep 600")
        building = asyncio.create_task(build(client, request, log=builder.written, progress=builder.progress.append))
        await asyncio.sleep(0)
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building
        client.dispose()

    asyncio.run(scenario())
    assert_no_threads()


def test_image_that_was_finished_during_a_cancellation_is_removed(builder: Builder) -> None:
    request = builder.request(f"FROM BASE\nRUN echo {builder.label} >/x")

    async def scenario() -> None:
        client = await DockerClient.connect("")
        work = _Build(client, request, builder.written, builder.progress.append)
        outcome = work.run()
        assert builder.images()
        work.discard(outcome)
        client.dispose()

    asyncio.run(scenario())
    assert_no_threads()
    assert builder.images() == []


def test_image_of_a_build_that_ends_after_its_cancellation_is_removed(builder: Builder) -> None:
    async def scenario() -> None:
        client = await DockerClient.connect("")
        request = builder.request(f"FROM BASE\nRUN echo {builder.label} >/x")
        work = _Build(client, request, builder.written, lambda _: setattr(work, "canceled", True))
        assert work.run().image_id
        client.dispose()

    asyncio.run(scenario())
    assert builder.images() == []


def test_daemon_that_goes_away_is_unavailable(builder: Builder, forwarder: Forwarder) -> None:
    builder.host = forwarder.host

    async def scenario() -> None:
        request = builder.request(f"FROM BASE\nRUN echo started-$((1+1)) {builder.label}; sleep 600")
        building = asyncio.create_task(builder.run(request))
        await builder.logged(" started-2 ")
        forwarder.stop()
        with pytest.raises(Unavailable):
            await building

    asyncio.run(scenario())
    assert_no_threads()


def test_daemon_that_went_away_before_is_unavailable(builder: Builder, forwarder: Forwarder) -> None:
    async def scenario() -> None:
        client = await DockerClient.connect(forwarder.host)
        forwarder.stop()
        request = builder.request("FROM BASE")
        with pytest.raises(Unavailable, match=r"Docker does not answer at .*forwarder\.sock"):
            await build(client, request, log=builder.written, progress=builder.progress.append)
        client.dispose()

    asyncio.run(scenario())
    assert_no_threads()


def test_log_that_cannot_be_written_ends_the_build(builder: Builder) -> None:
    class FullLog(MemoryLog):
        def write(self, data: bytes, stream: LogStream = "stdout") -> None:
            raise TaskFailedInternally("the disk is full")

    builder.written = FullLog()
    with pytest.raises(TaskFailedInternally, match="the disk is full"):
        builder.build("FROM BASE\nRUN sleep 600")
    assert_no_threads()


def test_context_that_cannot_be_read_is_our_fault(builder: Builder) -> None:
    request = builder.request("FROM BASE\nCOPY . /", {"gone": b"x"})

    def broken(path: str) -> Iterator[bytes]:
        if path == "gone":
            raise OSError("the pack is damaged")
        yield request.context.files[path]

    request.context.read = broken
    with pytest.raises(TaskFailedInternally, match="the pack is damaged"):
        asyncio.run(builder.run(request))
    assert_no_threads()


class Forwarder:
    """A socket that leads to the daemon's, until it is stopped."""

    def __init__(self, path: Path) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self.host = f"unix://{path}"
        self._sockets: list[socket.socket] = [self._server]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        try:
            while True:
                here, there = self._server.accept()[0], socket.socket(socket.AF_UNIX)
                there.connect(SOCKET)
                self._sockets += [here, there]
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()
        except OSError:
            self._server.close()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture
def forwarder(tmp_path: Path) -> Iterator[Forwarder]:
    forwarder = Forwarder(tmp_path / "forwarder.sock")
    yield forwarder
    forwarder.stop()
    for end in forwarder._sockets:
        end.close()
