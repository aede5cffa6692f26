"""A registry that never confirms a layer: for tests of the middle of a push."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs

_BUFFER = 4096
"""Bytes that the kernel takes before the layer is read: far fewer than any layer has."""


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
    came, resume, gone = threading.Event(), threading.Event(), threading.Event()

    class StuckHandler(_RegistryProtocol):
        def do_PATCH(self) -> None:
            came.set()
            resume.wait()
            while self.rfile.read1(1 << 16):
                pass
            gone.set()
            self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), StuckHandler) as server:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield StuckRegistry(f"127.0.0.1:{server.server_address[1]}", came, resume, gone)
        finally:
            resume.set()
            server.shutdown()
            thread.join()


class _RegistryProtocol(BaseHTTPRequestHandler):
    """The part of the protocol before the contents of a layer."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200)

    def do_HEAD(self) -> None:
        self._answer(404)

    def do_POST(self) -> None:
        self._answer(202, Location=f"http://{self.headers['Host']}/upload", Range="0-0")

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
