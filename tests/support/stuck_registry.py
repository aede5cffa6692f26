"""A registry that never confirms a layer: for tests of the middle of a push."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from tests.support.partial_registry import RegistryHandler, serving_registry
from tests.support.small_server import host_of

_BUFFER = 4096
"""Bytes that the kernel takes before the layer is read: far fewer than any layer has."""

_PACE = 0.01
"""Seconds between two pieces: a daemon on a busy machine needs a moment to notice that its client has gone, and then
there must be something left to send."""


@attrs.frozen
class StuckRegistry:
    """A stuck registry that listens."""

    host: str
    came: threading.Event
    """A layer is being pushed."""
    resume: threading.Event
    """Set by the test after the cancellation; before, the layer is not read. Docker 20.10 notices that a push is
    cancelled while it sends a layer, and not while it waits for the answer."""
    gone: threading.Event
    """The client that pushed it has closed its connection."""


@contextmanager
def stuck_registry() -> Iterator[StuckRegistry]:
    came, resume, gone, slowly = (threading.Event() for _ in range(4))

    class StuckHandler(_PushProtocol):
        def do_PATCH(self) -> None:
            came.set()
            resume.wait()
            while self.rfile.read1(_BUFFER):
                slowly.wait(_PACE)
            gone.set()
            self.close_connection = True

    with serving_registry(StuckHandler, resume) as server:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        yield StuckRegistry(host_of(server), came, resume, gone)


class _PushProtocol(RegistryHandler):
    """The part of the protocol before the contents of a layer."""

    def do_GET(self) -> None:
        self.head(200)

    def do_HEAD(self) -> None:
        self.head(404)

    def do_POST(self) -> None:
        self.head(202, Location=f"http://{self.headers['Host']}/upload", Range="0-0")
