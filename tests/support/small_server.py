"""Small HTTP servers: a test writes the handler of a request."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NO_HEADERS: Mapping[str, str] = {}
POLL = 0.01
"""Seconds for a server to see that it has been shut down."""


class QuietHandler(BaseHTTPRequestHandler):
    """Handles one request, and prints nothing of it."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] = NO_HEADERS) -> None:
        """A whole answer; to HEAD without its body."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Says nothing."""


@contextmanager
def small_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[ThreadingHTTPServer]:
    """Serves at a free port of 127.0.0.1, in a thread, until the end of the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(POLL,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def host_of(server: ThreadingHTTPServer) -> str:
    """Its host and port, as in a URL."""
    return f"127.0.0.1:{server.server_port}"
