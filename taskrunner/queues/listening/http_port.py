"""An HTTP server at the port of a queue, with the limits of the port: uvicorn's protocol, over a socket of our own.

The connections are bounded as those of proxies are. The limit of a body is that of the application which reads it. The
signals of the process belong to the worker.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import attrs

from taskrunner.errors import Unavailable
from taskrunner.proxies.accepting import stop_accepting
from taskrunner.proxies.connection import BoundedConnection, OpenConnections
from taskrunner.proxies.uvicorn_config import loaded_config
from taskrunner.queues.listening.address import Address
from taskrunner.queues.listening.listener import Listener

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application."""

HANDSHAKE_LIMIT = 10.0
"""Seconds for TLS."""

KEEP_ALIVE = 15
"""Seconds that a connection is kept for another request."""

MAX_HEAD = 32 << 10
"""Bytes of the head of a request."""

STOP_LIMIT = 2.0
"""Seconds for answers that are under way when the port is closed. One that goes on, such as a stream of events, is
cut."""


@attrs.define(eq=False)
class HttpPort:
    """A port that serves an application until it is closed."""

    address: Address
    """With the port that it has."""
    _server: asyncio.Server
    _state: OpenConnections

    @classmethod
    async def open(cls, listener: Listener, application: Application) -> HttpPort:
        """Raises: Unavailable (the port is taken, or the host is not of this machine)."""
        sockets = await _bound(listener.address)
        config = loaded_config(
            application,
            connection=PortConnection,
            max_head=MAX_HEAD,
            keep_alive=min(KEEP_ALIVE, listener.idle_timeout),
        )
        state = OpenConnections()
        server = await asyncio.get_running_loop().create_server(
            partial(PortConnection, config, state, {}, most=listener.max_connections),
            sock=sockets,
            ssl=listener.tls.context if listener.tls else None,
            ssl_handshake_timeout=HANDSHAKE_LIMIT if listener.tls else None,
        )
        return cls(Address(listener.address.host, sockets.getsockname()[1]), server, state)

    async def close(self) -> None:
        """Accepts nothing more, gives the answers under way a moment, and cuts what is left. Raises nothing."""
        await stop_accepting(self._server.sockets)
        self._server.close()
        self._state.closed = True
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=STOP_LIMIT)
        for task in list(self._state.tasks):
            task.cancel()
        for connection in list(self._state.connections):
            connection.transport.abort()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=STOP_LIMIT)


async def _bound(address: Address) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = found[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Unavailable(f"cannot listen at {address}: {error.strerror}") from None
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setblocking(False)
        opened.bind(where)
    except OSError as error:
        opened.close()
        raise Unavailable(f"cannot listen at {address}: {error.strerror}") from None
    return opened


class PortConnection(BoundedConnection):
    """One connection to a port, of `most` at a time."""

    def __init__(self, *arguments: Any, most: int = 1, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.max_connections = most

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        _detect_half_open(transport.get_extra_info("socket"), self.stall_timeout)


def _detect_half_open(connection: socket.socket, limit: float) -> None:
    """A client whose machine has gone is noticed within about a minute, also while nothing is sent to it."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(limit * 1000))
