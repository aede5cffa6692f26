"""A handler within limits: how much it reads, how long it waits for that, and what its errors show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

import attrs

from taskrunner.interfaces.attachments import ProxyHandler, Receive, Scope, Send
from taskrunner.proxies.limits import MAX_BODY, STALL_TIMEOUT

_STALLED, _TOO_LARGE, _FAILED = 408, 413, 502


class _RefusedError(Exception):
    """The body of a request is not taken. Its arguments are a status and the text for the client."""


@attrs.frozen
class BoundedHandler:
    """An ASGI application around a handler. An error of the handler is a line in the log of the run, and a 502: a
    traceback would show the worker's inside to the run."""

    handler: ProxyHandler
    name: str
    say: Callable[[str], None]
    """Appends a line to the log of the run."""
    max_body: int = MAX_BODY
    stall_timeout: float = STALL_TIMEOUT

    async def __call__(self, scope: Scope, receive: Receive, send: Send, /) -> None:
        exchange = _Exchange(self, receive, send)
        try:
            await self.handler(scope, exchange.receive, exchange.send)
        except _RefusedError as refused:
            await exchange.refuse(*refused.args)
        except Exception as error:  # noqa: BLE001  whatever it is, the run must not see it
            self.say(f"the proxy {self.name} has failed: {type(error).__name__}")
            await exchange.refuse(_FAILED, "the proxy has failed")


@attrs.define
class _Exchange:
    """One request and its response."""

    bounds: BoundedHandler
    _receive: Receive
    _send: Send
    _read: int = 0
    _begun: bool = False

    async def receive(self) -> MutableMapping[str, Any]:
        try:
            async with asyncio.timeout(self.bounds.stall_timeout):
                event = await self._receive()
        except TimeoutError:
            raise _RefusedError(_STALLED, "the body does not come") from None
        self._read += len(event.get("body", b""))
        if self._read > self.bounds.max_body:
            raise _RefusedError(_TOO_LARGE, f"the body is larger than {self.bounds.max_body} bytes")
        return event

    async def send(self, event: MutableMapping[str, Any]) -> None:
        self._begun = True
        await self._send(event)

    async def refuse(self, status: int, text: str) -> None:
        """Does nothing once a response has begun: the server closes a connection whose response is not whole."""
        if self._begun:
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": f"{text}\n".encode()})
