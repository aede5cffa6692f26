"""The other end of a signed URL: a server that keeps what is PUT to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from tests.support.small_server import QuietHandler, host_of, small_server


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
    class Handler(QuietHandler):
        def do_PUT(self) -> None:
            kept.bodies.append(self.body())
            kept.headers.append({name.lower(): value for name, value in self.headers.items()})
            kept.paths.append(self.path)
            self.answer(kept.status, headers={"Location": "/elsewhere"})

    with small_server(Handler) as server:
        kept = Storage(f"http://{host_of(server)}/log?signature=hunter2")
        yield kept
