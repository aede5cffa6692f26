"""The server of the registries that stop in the middle of a transfer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class RegistryHandler(BaseHTTPRequestHandler):
    """One request; a subclass answers it."""

    protocol_version = "HTTP/1.1"

    def head(self, status: int, length: int = 0, **headers: str) -> None:
        """The beginning of an answer. In the names of headers, `_` is `-`."""
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving_registry(handler: type[RegistryHandler], resume: threading.Event) -> Iterator[ThreadingHTTPServer]:
    """Runs the server. At the end `resume` is set, for which requests may wait."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            resume.set()
            server.shutdown()
            thread.join()


def host_of(server: ThreadingHTTPServer) -> str:
    """As in front of an image's name."""
    return f"127.0.0.1:{server.server_address[1]}"
