"""A proxy in front of a real registry that answers some requests with a fault."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Literal

import attrs

from tests.support.small_server import QuietHandler, host_of, small_server

_LIMIT = 30  # seconds for one request
_PIECE = 1 << 16
_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})
"""Headers of one connection."""
_CODES = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN", 429: "TOOMANYREQUESTS", 503: "UNAVAILABLE"}


def always() -> bool:
    return True


@attrs.define
class Fault:
    """One kind of fault, for the next `times` requests that match."""

    kind: int | Literal["reset", "stall"]
    """A status, with the error that a registry writes beside it; a connection that is reset; an answer that never
    comes."""
    request: str
    """A pattern of method and path: `PUT .*/manifests/`."""
    times: int = 1
    when: Callable[[], bool] = always

    def hits(self, request: str) -> bool:
        if self.times <= 0 or not re.match(self.request, request) or not self.when():
            return False
        self.times -= 1
        return True


MANIFEST = "PUT .*/manifests/"
"""The last request of a push, which Docker does not repeat by itself."""
UPLOAD = "POST .*/blobs/uploads/"
"""The first request for a layer."""


@attrs.frozen
class FaultyRegistry:
    """A proxy that listens."""

    host: str
    requests: list[str] = attrs.field(factory=list)
    faults: list[Fault] = attrs.field(factory=list)
    released: threading.Event = attrs.field(factory=threading.Event)
    """Ends what is stalled."""

    def count(self, pattern: str) -> int:
        return sum(bool(re.match(pattern, request)) for request in self.requests)


@contextmanager
def faulty_registry(behind: str, *faults: Fault) -> Iterator[FaultyRegistry]:
    """Passes on every request to the registry `behind`, but those that a fault hits."""
    with small_server(_Handler) as server:
        proxy = FaultyRegistry(host_of(server), faults=list(faults))
        server.proxy, server.behind = proxy, behind  # type: ignore[attr-defined]
        try:
            yield proxy
        finally:
            proxy.released.set()


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    timeout = _LIMIT

    def handle_request(self) -> None:
        proxy: FaultyRegistry = self.server.proxy  # type: ignore[attr-defined]
        request = f"{self.command} {self.path}"
        proxy.requests.append(request)
        body = self.body()
        fault = next((fault for fault in proxy.faults if fault.hits(request)), None)
        match fault:
            case None:
                self._pass_on(body)
            case Fault(kind="reset"):
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
            case Fault(kind="stall"):
                proxy.released.wait(_LIMIT)
                self.close_connection = True
            case Fault(kind=int(status)):
                self._refuse(status)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request

    def _refuse(self, status: int) -> None:
        error = {"errors": [{"code": _CODES[status], "message": _CODES[status].lower()}]}
        self._answer(status, [("Content-Type", "application/json")], json.dumps(error).encode())

    def _pass_on(self, body: bytes) -> None:
        behind = HTTPConnection(self.server.behind, timeout=_LIMIT)  # type: ignore[attr-defined]
        try:
            names = {name.lower() for name in self.headers} - _HOP
            headers = {name: ", ".join(self.headers.get_all(name, ())) for name in names}
            behind.request(self.command, self.path, body, headers)
            answer = behind.getresponse()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
            size = answer.headers["Content-Length"] if self.command == "HEAD" else None
            self._answer(answer.status, kept, answer.read(), size)
        finally:
            behind.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, size: str | None = None) -> None:
        self.send_response_only(status)
        for name, value in [*headers, ("Content-Length", size or str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        """A layer of a test has two megabytes at most."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return super().body()
        pieces = []
        while size := int(self.rfile.readline(_PIECE).split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline(_PIECE)
        self.rfile.readline(_PIECE)
        return b"".join(pieces)
