"""One connection of a run to a proxy: uvicorn's, with limits that uvicorn lacks."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from taskrunner.proxies.limits import MAX_CONNECTIONS, REQUEST_TIMEOUT, STALL_TIMEOUT

_silent = logging.getLogger("taskrunner.proxies")
_silent.setLevel(logging.CRITICAL)  # a bad request is a warning of uvicorn: a run could fill the worker's log


class OpenConnections(ServerState):
    """The connections of one server."""

    closed = False
    """Whether the server has closed its port. A connection that was accepted just before, and begins after, is cut."""


class BoundedConnection(H11Protocol):
    """uvicorn answers a connection beyond its limit of concurrency only when that sends a request, waits for a request
    for ever, and for a client that takes nothing as long. Here each of these is closed."""

    max_connections = MAX_CONNECTIONS
    request_timeout = REQUEST_TIMEOUT
    stall_timeout = STALL_TIMEOUT
    server_state: OpenConnections
    _awaiting_request: asyncio.TimerHandle | None = None
    _awaiting_reader: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _silent

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.server_state.closed or len(self.connections) > self.max_connections:
            transport.abort()
        else:
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._awaiting_request)
        _cancel(self._awaiting_reader)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            _cancel(self._awaiting_request)

    def on_response_complete(self) -> None:
        self._await_request()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._awaiting_reader = self.loop.call_later(self.stall_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        _cancel(self._awaiting_reader)
        super().resume_writing()

    def _await_request(self) -> None:
        _cancel(self._awaiting_request)
        self._awaiting_request = self.loop.call_later(self.request_timeout, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer:
        timer.cancel()
