"""The table `[queue.NAME.listen]`: who may connect, and how much a connection may take."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from attrs.validators import ge, le, matches_re

from taskrunner.errors import Complaint
from taskrunner.model import Secret

_FULL_PATH = matches_re(r"(?:/[^\x00-\x1f\x7f]+)?")
_PATH_HINT = {"hint": "write the full path of a PEM file"}

MIN_MESSAGE, MAX_MESSAGE = 64 << 10, 256 << 20
"""Bytes. Less holds no task with its variables; more is a file, and no message."""


@attrs.frozen
class ListenOptions:
    """Who may connect to the port of a queue, and what a connection may take."""

    certificate: str = attrs.field(default="", validator=_FULL_PATH, metadata=_PATH_HINT)
    """The certificate of this server, with those that lead to its root. With it, the port speaks TLS only."""
    key: str = attrs.field(default="", validator=_FULL_PATH, metadata=_PATH_HINT)
    """The private key of the certificate, without a password."""
    client_ca: str = attrs.field(default="", validator=_FULL_PATH, metadata=_PATH_HINT)
    """Mutual TLS: only clients get in whose certificate one of these authorities has signed."""
    tokens: tuple[Secret, ...] = ()
    """Only clients get in that send one of these: `Authorization: Bearer TOKEN`. Several allow a change of tokens."""
    max_message: int = attrs.field(
        default=4 << 20, validator=[ge(MIN_MESSAGE), le(MAX_MESSAGE)], metadata={"unit": "bytes"}
    )
    """Bytes of one message of a client. gRPC's own default."""
    max_connections: int = attrs.field(default=1000, validator=[ge(1), le(100_000)])
    """At one time. A connection beyond them is closed at once. Each takes a file descriptor."""
    idle_timeout: int = attrs.field(default=900, validator=[ge(1), le(7 * 24 * 3600)], metadata={"unit": "s"})
    """Seconds after which a connection without a call or a message is closed. Load balancers wait about as long."""


def listen_complaints(options: ListenOptions) -> Iterator[Complaint]:
    """What the decoder cannot see, with paths below the options of the queue: for `check_options`."""
    if options.certificate and not options.key:
        yield Complaint("listen.key", "is missing beside `certificate`", "name the file of its private key")
    for field in ("key", "client_ca"):
        if getattr(options, field) and not options.certificate:
            yield Complaint(f"listen.{field}", "has no effect without `certificate`", "name the server's certificate")
