"""What a service manager is told, on a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from taskrunner.machines.worker import Load
from taskrunner.worker.notify_socket import NotifySocket, notify_socket, watchdog_limit
from taskrunner.worker.service_manager import reporting, status_line

if TYPE_CHECKING:
    from tests.worker.conftest import World


@attrs.frozen
class Manager:
    """The service manager's end of the socket."""

    socket: socket.socket

    def messages(self) -> list[str]:
        """What has come so far, in its order."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(65536).decode())
            except BlockingIOError:
                return found


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    path = f"@taskrunner-{tmp_path}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(path.replace("@", "\0", 1))
        end.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield Manager(end)


def test_a_worker_is_ready_when_it_has_booted_and_says_what_it_does(manager: Manager, world: World) -> None:
    messages: list[str] = []

    async def scene() -> None:
        async with reporting(world.worker):
            await world.submit(run_for=100)
            await asyncio.sleep(60)
            messages.extend(manager.messages())  # the kernel keeps ten
            world.worker.pause()
            world.host.leave(why="SIGTERM")
            await asyncio.sleep(60)

    world.run(scene)
    lines = [line for message in messages + manager.messages() for line in message.splitlines()]
    assert lines.count("READY=1") == 1
    statuses = [line.removeprefix("STATUS=") for line in lines if line.startswith("STATUS=")]
    assert "running, 1 of 1 slots taken" in statuses
    assert "paused, 1 of 1 slots taken: paused by its operator" in statuses
    assert "shutting down, 1 of 1 slots taken: SIGTERM" in statuses
    assert "STOPPING=1" not in lines


def test_the_watchdog_is_fed_as_often_as_it_asks(
    manager: Manager, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")

    async def scene() -> None:
        async with reporting(world.worker):
            await asyncio.sleep(0)
            assert [each for each in manager.messages() if each.startswith("EXTEND_TIMEOUT_USEC=")]
            await world.submit(run_for=1)
            await asyncio.sleep(61)
            assert manager.messages().count("WATCHDOG=1") == 6
        await asyncio.sleep(60)
        assert "WATCHDOG=1" not in manager.messages()
        world.host.leave(why="the scene is over")

    world.run(scene)


def test_a_manager_that_is_gone_is_one_warning(tmp_path: Path) -> None:
    warnings: list[str] = []
    channel = NotifySocket(str(tmp_path / "gone"), warnings.append)
    channel.send("READY=1")
    channel.send("WATCHDOG=1")
    assert len(warnings) == 1
    assert "No such file" in warnings[0]


def test_a_manager_that_does_not_read_holds_nobody_up(manager: Manager) -> None:
    warnings: list[str] = []
    channel = notify_socket(os.environ, warnings.append)
    assert channel
    for _ in range(2000):
        channel.send("WATCHDOG=1")
    assert len(warnings) == 1
    assert manager.messages()


@pytest.mark.parametrize(
    ("variables", "limit"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_only_the_process_that_is_meant_has_a_watchdog(variables: dict[str, str], limit: float | None) -> None:
    assert watchdog_limit(variables) == limit


@pytest.mark.parametrize("address", ["", "relative", "tcp:1"])
def test_an_address_of_another_kind_is_none(address: str) -> None:
    assert notify_socket({"NOTIFY_SOCKET": address}, print) is None


def test_a_status_is_one_line() -> None:
    load = Load(capacity=2, busy=1, fault="no disk\nREADY=1")
    assert status_line("shutting_down", load) == "shutting down, 1 of 2 slots taken: no disk READY=1"
