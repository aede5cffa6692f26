"""A registry that gives the same answer to each request but the first of a client, which asks for its version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.support.small_server import NO_HEADERS, QuietHandler, host_of, small_server


@contextmanager
def answering_registry(status: int, body: bytes = b"", headers: Mapping[str, str] = NO_HEADERS) -> Iterator[str]:
    """Listens, and yields its host. `{host}` in a header is replaced by it."""

    class SameAnswer(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.body()
            if self.path.rstrip("/") == "/v2":
                self.answer(200, b"{}")
            else:
                host = self.headers["Host"]
                self.answer(status, body, {name: value.format(host=host) for name, value in headers.items()})

    for method in ("HEAD", "POST", "PUT", "PATCH"):
        setattr(SameAnswer, f"do_{method}", SameAnswer.do_GET)
    with small_server(SameAnswer) as server:
        yield host_of(server)
