"""A real HTTP server on 127.0.0.1 that answers as a test says, also as no server should."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs

Answer = Callable[["Exchange"], None]


@attrs.define
class Exchange:
    """One request and its connection."""

    path: str
    headers: dict[str, str]
    connection: socket.socket
    server: FileServer

    def send(self, status: int, body: bytes = b"", *, length: int | None = -1, **headers: str) -> None:
        """An answer that ends with its connection. `length` is what it says of the body: None for nothing."""
        if length is not None:
            headers["Content_Length"] = str(len(body) if length < 0 else length)
        lines = [f"HTTP/1.1 {status} Because", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def send_part(self, content: bytes, **headers: str) -> None:
        """The part that was asked for, or everything."""
        asked = self.headers.get("range", "")
        if not asked:
            self.send(200, content, **headers)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        found = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send(206, content[start:], Content_Range=found, **headers)

    def reset(self) -> None:
        """Ends the connection by a reset, as a firewall or a killed server does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def stall(self) -> None:
        """Sends nothing until the client closes the connection; then sets `server.left`."""
        self.connection.settimeout(60)
        while self.connection.recv(1 << 16):
            """Goes on."""
        self.server.left.set()


class FileServer:
    """Answers the first request by the first answer, and so on; the last one stands for all others."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[Exchange] = []
        self.left = threading.Event()
        """A client has closed a connection on which the server had stalled."""
        self.asked = threading.Semaphore(0)
        """Released by each request."""
        self._lock = threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = False  # so that closing it waits for its connections

    @property
    def port(self) -> int:
        return int(self.http.server_address[1])

    def url(self, path: str = "/src.tar", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def answer(self, exchange: Exchange) -> None:
        with self._lock:
            self.requests.append(exchange)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.asked.release()
        answer(exchange)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.answer(Exchange(self.path, headers, self.connection, server))
                self.wfile = self.rfile = _Nothing()  # type: ignore[assignment]  # the answer may have closed it

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
                """Says nothing."""

        return Handler


class _Nothing:
    closed = True

    def flush(self) -> None: ...

    def close(self) -> None: ...


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[FileServer]:
    """A server that runs; with a certificate, over TLS."""
    server = FileServer()
    server.http.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients break off connections
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def make_certificate(path: Path, name: str = "IP:127.0.0.1") -> Path:
    """A certificate that is its own authority, with its key, in one file."""
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{path}.key", "-out", f"{path}.crt"]
    about = ["-days", "2", "-subj", "/CN=taskrunner", "-addext", f"subjectAltName={name}"]
    subprocess.run(["openssl", "req", "-x509", *key, *about], check=True, capture_output=True)
    path.write_text(Path(f"{path}.key").read_text() + Path(f"{path}.crt").read_text())
    return path
