"""An HTTP queue that serves in a thread, with what a test needs of it from outside."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs

from taskrunner.config.config import Config
from taskrunner.config.opening import queue_context
from taskrunner.interfaces.plugin import PluginContext
from taskrunner.model import Claim, Secret
from taskrunner.queues.http import HttpQueue
from taskrunner.queues.http.options import HttpOptions
from taskrunner.queues.listening import ListenOptions

T = TypeVar("T")

TOKEN = "door-token-91ce"
LIMIT = 30.0


@attrs.define(eq=False)
class HttpServer:
    """The queue `queue` runs in its own loop."""

    home: Path
    queue: HttpQueue
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return self.queue.address

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.rpartition("//")[2].rpartition(":")
        return host, int(port)

    def do(self, call: Callable[[HttpQueue], Coroutine[Any, Any, T]]) -> T:
        """The result of a call in the loop of the queue."""
        return asyncio.run_coroutine_threadsafe(call(self.queue), self.loop).result(LIMIT)

    def claim(self) -> Claim:
        """The one run that waits: the worker of this queue still gets work."""
        [claim] = self.do(lambda queue: queue.claim(1, lease=600, wait=LIMIT))
        return claim

    def wait_for_no_connection(self) -> None:
        """Returns when the server has none open. The limit is that of the test."""
        while self.queue._port and self.queue._port._state.connections:
            self.do(_turn)

    def connect(self) -> socket.socket:
        """A bare connection, for what no client would send."""
        return socket.create_connection(self.address, LIMIT)

    def exchange(self, *pieces: bytes) -> bytes:
        """What comes back to the pieces until the server closes the connection."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return received(connection)


async def _turn(_: object) -> None:
    """A turn of the server's loop."""


def received(connection: socket.socket) -> bytes:
    """All that comes until the other side closes, or resets, the connection."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def reveal(secret: Secret) -> str:
    return secret.literal


@contextmanager
def http_server(
    home: Path,
    *,
    tokens: tuple[str, ...] = (TOKEN,),
    url: str = "http://",
    port: int = 0,
    query: str = "",
    **listen: Any,
) -> Iterator[HttpServer]:
    """A server, by default at a free port."""
    config = Config(queue=f"{url}127.0.0.1:{port}{query}")
    options = HttpOptions(ListenOptions(tokens=tuple(Secret(literal=token) for token in tokens), **listen))
    context = queue_context(config, PluginContext("worker-1", home, reveal), config.queue)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        queue = asyncio.run_coroutine_threadsafe(HttpQueue.open(options, context), loop).result(LIMIT)
        try:
            yield HttpServer(home, queue, loop)
        finally:
            asyncio.run_coroutine_threadsafe(queue.close(), loop).result(LIMIT)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(LIMIT)
        loop.close()
