"""Serves one handler on one listening socket, in the event loop of the worker."""

from __future__ import annotations

import asyncio
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING

import attrs

from taskrunner.errors import NotSupported
from taskrunner.interfaces.attachments import ProxyHandler
from taskrunner.proxies.limits import MAX_HEADERS

if TYPE_CHECKING:
    from uvicorn import Server

END_LIMIT = 5.0
"""Seconds for the requests of an ended run to notice their cancellation."""


@attrs.frozen
class ProxyServer:
    """Made by `serve`, and ended by `close`."""

    _server: Server

    @classmethod
    async def serve(cls, listener: socket.socket, handler: ProxyHandler) -> ProxyServer:
        """Takes over the listener. Raises NotSupported (`listener` is closed then)."""
        if find_spec("uvicorn") is None:
            listener.close()
            raise NotSupported("proxies without uvicorn: pip install 'taskrunner-worker[proxies]'")
        import uvicorn

        from taskrunner.proxies.connection import BoundedConnection

        config = uvicorn.Config(
            handler,
            http=BoundedConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=MAX_HEADERS,
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listener])  # `serve` would take over the signals of the worker
        return cls(server)

    async def close(self) -> None:
        """No request is served any more, and none is under way. A second call does nothing."""
        for server in self._server.servers:
            server.close()
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        requests = list(self._server.server_state.tasks)
        for request in requests:
            request.cancel()
        if requests:
            await asyncio.wait(requests, timeout=END_LIMIT)
