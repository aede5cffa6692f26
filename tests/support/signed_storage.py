"""The other end of a signed URL: a server that keeps what is PUT to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import attrs


@attrs.define
class Storage:
    """Keeps what is PUT to it, and answers as a test says."""

    url: str
    status: int = 200
    bodies: list[bytes] = attrs.field(factory=list)
    headers: list[dict[str, str]] = attrs.field(factory=list)
    paths: list[str] = attrs.field(factory=list)


@contextmanager
def storage() -> Iterator[Storage]:
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            kept.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            kept.headers.append({name.lower(): value for name, value in self.headers.items()})
            kept.paths.append(self.path)
            self.send_response(kept.status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Not on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept = Storage(f"http://127.0.0.1:{server.server_address[1]}/log?signature=hunter2")
        thread = Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield kept
        server.shutdown()
        thread.join()
