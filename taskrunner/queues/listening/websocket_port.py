"""A WebSocket server at the port of a queue, with the limits of the port.

Nothing is compressed: a compressor takes more memory than all else of a connection, and a small frame could grow
beyond all limits.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import Any

import attrs
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from taskrunner.errors import Unavailable
from taskrunner.proxies.accepting import stop_accepting
from taskrunner.queues.listening.listener import Listener
from taskrunner.queues.listening.tokens import BearerTokens

HANDSHAKE_TIMEOUT = 10.0
"""Seconds for TLS and the request of a new connection."""

PING_EVERY, PING_TIMEOUT = 10.0, 10.0
"""Seconds between two pings, and for the answer to one: a client whose machine has gone is found within 20 seconds."""

CLOSE_TIMEOUT = 2.0
"""Seconds for a client to confirm that its connection is closed. Then it is cut."""

MAX_FRAMES = 8
"""Of one connection that are read and wait for their turn. With more than that, its socket is not read."""

_LOG = logging.getLogger(f"{__name__}.library")
"""Where the library reports what a handler has raised."""

_NOISE = ("opening handshake failed", "keepalive ping failed")
"""What any client can make it report at any rate: it could fill the log of the worker."""

Handle = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def open_websocket_port(listener: Listener, handle: Handle) -> AsyncIterator[int]:
    """Serves until the block ends, and yields the port. `handle` gets each connection that is admitted, which is closed
    when it returns. It may raise ConnectionClosed.

    Raises: Unavailable (the port is taken, or the host is not of this machine).
    """
    connections: set[ServerConnection] = set()
    counted: Any = partial(CountedConnection, connections, listener.max_connections)
    serving = serve(
        partial(_handle, handle),
        listener.address.host,
        listener.address.port,
        ssl=listener.tls.context if listener.tls else None,
        process_request=partial(_admit, listener.tokens),
        create_connection=counted,
        compression=None,
        max_size=listener.max_message,
        max_queue=MAX_FRAMES,
        open_timeout=HANDSHAKE_TIMEOUT,
        ping_interval=PING_EVERY,
        ping_timeout=PING_TIMEOUT,
        close_timeout=CLOSE_TIMEOUT,
        logger=_logger(),
    )
    try:
        server = await serving
    except OSError as error:
        raise Unavailable(f"cannot listen at {listener.address}: {error.strerror or error}") from None
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        await _close(server, connections)


async def _handle(handle: Handle, connection: ServerConnection) -> None:
    with suppress(ConnectionClosed):  # the library would report a client that has gone as an error
        await handle(connection)


async def _close(server: Server, connections: set[ServerConnection]) -> None:
    """Connections without a request are cut: the server would wait for them."""
    await stop_accepting(server.sockets)
    for connection in list(connections):
        if connection.request is None:
            connection.transport.abort()
    server.close()
    await server.wait_closed()


class CountedConnection(ServerConnection):
    """Cut at once when the port has as many connections as it may have."""

    def __init__(self, connections: set[ServerConnection], most: int, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._connections, self._most = connections, most

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._connections.add(self)
        if len(self._connections) > self._most:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        super().connection_lost(exc)


def _admit(tokens: BearerTokens, connection: ServerConnection, request: Request) -> Response | None:
    """None, or the answer to a client that does not get in."""
    sent = request.headers.get_all("Authorization")
    if tokens.admits(sent[0] if len(sent) == 1 else None):
        return None
    refusal = connection.respond(HTTPStatus.UNAUTHORIZED, "send `Authorization: Bearer TOKEN` with a token\n")
    refusal.headers["WWW-Authenticate"] = "Bearer"
    return refusal


@attrs.frozen
class _NoNoise(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(_NOISE)


def _logger() -> logging.Logger:
    _LOG.setLevel(logging.ERROR)
    _LOG.filters = [_NoNoise()]
    return _LOG
