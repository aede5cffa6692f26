"""A registry that gives the same answer to each request but the first of a client, which asks for its version."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NO_HEADERS: Mapping[str, str] = {}


@contextmanager
def answering_registry(status: int, body: bytes = b"", headers: Mapping[str, str] = NO_HEADERS) -> Iterator[str]:
    """Listens, and yields its host. `{host}` in a header is replaced by it."""

    class SameAnswer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path.rstrip("/") == "/v2":
                self._answer(200, b"{}", {})
            else:
                self._answer(status, body, headers)

        def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value.format(host=self.headers["Host"]))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    for method in ("HEAD", "POST", "PUT", "PATCH"):
        setattr(SameAnswer, f"do_{method}", SameAnswer.do_GET)
    with ThreadingHTTPServer(("127.0.0.1", 0), SameAnswer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
