"""LauncherSource: the WebSocket server to which launchers connect, one at a time."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.protocol import State

from taskrunner.errors import ClaimLost, MalformedPayload, TaskFailedInternally, Unavailable
from taskrunner.interfaces.push import Credits, PushSource
from taskrunner.queues.launcher.build import Build
from taskrunner.queues.launcher.messages import read_message
from taskrunner.queues.listening import Listener
from taskrunner.queues.listening.websocket_port import open_websocket_port

log = logging.getLogger(__name__)

MOST_WARNINGS = 20
"""About malformed frames, of one connection. A hostile one could fill the log of the worker."""


@attrs.define(eq=False)
class LauncherSource(PushSource):
    """`make_build` is called once, when the worker has booted. Without a `host_name` every launcher gets in."""

    listener: Listener
    make_build: Callable[[Credits], Build]
    host_name: str
    close_timeout: float
    """Seconds after the end of the build until the worker stops by itself."""
    build: Build | None = None

    async def serve(self, credits: Credits) -> None:  # noqa: A002  the interface's word
        build = self.build or await self._new_build(credits)
        async with open_websocket_port(self.listener, self._connected):
            if exposure := self.listener.exposure:
                log.warning(exposure)
            await build.watch(self.close_timeout)

    async def close(self) -> None:
        if self.build:
            await self.build.log.close()

    async def _new_build(self, credits: Credits) -> Build:  # noqa: A002  as above
        build = self.make_build(credits)
        try:
            await build.load()
        except TaskFailedInternally as error:
            raise Unavailable(str(error)) from None
        except asyncio.CancelledError:  # while it sent a log
            await build.log.close()
            raise
        self.build = build
        return build

    def build_of(self, path: str) -> Build | None:
        """The build that a connection is for."""
        return self.build if self.build and admits(path, self.host_name) else None

    async def _connected(self, connection: ServerConnection) -> None:
        build = self.build_of(connection.request.path if connection.request else "")
        if build is None:
            await connection.close(CloseCode.POLICY_VIOLATION, "Unauthorized")
        elif not build.connect(launcher := ConnectedLauncher(connection)):
            await connection.close(CloseCode.TRY_AGAIN_LATER, "another launcher is connected")
        else:
            try:
                await converse(build, connection)
            finally:
                build.disconnect(launcher)


def admits(path: str, host_name: str) -> bool:
    """Whether a launcher knows the name of this machine, or the begin of it."""
    if not host_name:
        return True
    try:
        names = parse_qs(urlsplit(path).query).get("expo_vm_name", [])
    except ValueError:
        return False
    return len(names) == 1 and host_name.startswith(names[0])


async def converse(build: Build, connection: ServerConnection) -> None:
    """Handles the frames of one launcher until its connection ends, or it has said `close`. A malformed frame is
    reported, and the next one is handled."""
    warnings = 0
    try:
        async for frame in connection:
            try:
                await build.handle(read_message(frame))
            except MalformedPayload as error:
                warnings += 1
                if warnings <= MOST_WARNINGS:
                    log.warning("a malformed frame of the launcher was ignored: %s", error)
            if build.closing:
                return
    except (ConnectionClosed, ClaimLost):
        log.info("the launcher has gone")


@attrs.frozen(eq=False)
class ConnectedLauncher:
    """The launcher behind a connection."""

    connection: ServerConnection

    @property
    def is_open(self) -> bool:
        return self.connection.state is State.OPEN

    async def send(self, message: dict[str, Any]) -> None:
        """Raises: ClaimLost."""
        try:
            await self.connection.send(json.dumps(message))
        except ConnectionClosed as error:
            raise ClaimLost("disconnected", str(error)) from None
