"""The table `[queue.http]`, and `[queue.https]`."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from attrs.validators import deep_iterable, matches_re

from taskrunner.errors import Complaint
from taskrunner.interfaces.source import OVER_NETWORK
from taskrunner.limits import REPOSITORY_HINT, REPOSITORY_PATTERN
from taskrunner.model import Secret
from taskrunner.queues.listening import ListenOptions, listen_complaints


@attrs.frozen
class HttpOptions:
    """Who may connect to a worker, and how a client connects."""

    listen: ListenOptions = attrs.field(factory=ListenOptions)
    repositories: tuple[str, ...] = attrs.field(
        default=OVER_NETWORK,
        validator=deep_iterable(matches_re(REPOSITORY_PATTERN)),
        metadata={"hint": REPOSITORY_HINT},
    )
    """The repositories that tasks may name which come this way, among those that `[source]` allows to all: patterns as
    there. By default all over HTTPS, HTTP and git's own protocol, and no path of this machine."""
    token: Secret | None = None
    """Of a client: one of the tokens of the server."""
    ca_file: str = attrs.field(
        default="", validator=matches_re(r"(?:/[^\x00-\x1f\x7f]+)?"), metadata={"hint": "write the full path of a file"}
    )
    """Of a client: the authorities (PEM) that may sign the server's certificate. Empty: those of the system."""


def option_complaints(options: HttpOptions) -> Iterator[Complaint]:
    """What the decoder cannot see."""
    yield from listen_complaints(options.listen)
