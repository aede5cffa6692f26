"""The server of the registries that stop in the middle of a transfer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

from tests.support.small_server import QuietHandler, small_server


class RegistryHandler(QuietHandler):
    """One request; a subclass answers it."""

    protocol_version = "HTTP/1.1"

    def head(self, status: int, length: int = 0, **headers: str) -> None:
        """The beginning of an answer. In the names of headers, `_` is `-`."""
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


@contextmanager
def serving_registry(handler: type[RegistryHandler], resume: threading.Event) -> Iterator[ThreadingHTTPServer]:
    """Runs the server. At the end `resume` is set, for which requests may wait."""
    with small_server(handler) as server:
        try:
            yield server
        finally:
            resume.set()
