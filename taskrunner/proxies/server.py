"""Serves one handler on one listening socket, in the event loop of the worker."""

from __future__ import annotations

import asyncio
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING

import attrs

from taskrunner.errors import NotSupported
from taskrunner.interfaces.attachments import ProxyHandler
from taskrunner.proxies.accepting import stop_accepting
from taskrunner.proxies.limits import MAX_HEADERS

if TYPE_CHECKING:
    from uvicorn import Server

    from taskrunner.proxies.connection import OpenConnections

END_LIMIT = 5.0
"""Seconds for the requests of an ended run to notice their cancellation."""


@attrs.frozen
class ProxyServer:
    """Made by `serve`, and ended by `close`."""

    _server: Server
    _connections: OpenConnections

    @classmethod
    async def serve(cls, listener: socket.socket, handler: ProxyHandler) -> ProxyServer:
        """Takes over the listener. Raises NotSupported (`listener` is closed then)."""
        if find_spec("uvicorn") is None:
            listener.close()
            raise NotSupported("proxies without uvicorn: pip install 'taskrunner-worker[proxies]'")
        import uvicorn

        from taskrunner.proxies.connection import OpenConnections
        from taskrunner.proxies.uvicorn_config import loaded_config

        config = loaded_config(handler, max_head=MAX_HEADERS)
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        server.server_state = connections = OpenConnections()
        await server.startup(sockets=[listener])  # `serve` would take over the signals of the worker
        return cls(server, connections)

    async def close(self) -> None:
        """No request is served any more, and none is under way. A second call does nothing."""
        for server in self._server.servers:
            await stop_accepting(server.sockets)
            server.close()
        self._connections.closed = True
        for connection in list(self._connections.connections):
            connection.transport.abort()
        requests = list(self._connections.tasks)
        for request in requests:
            request.cancel()
        if requests:
            await asyncio.wait(requests, timeout=END_LIMIT)
