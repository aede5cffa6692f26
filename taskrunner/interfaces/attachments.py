"""What a run gets beside its own command: proxies of the worker, and services of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

import attrs

from taskrunner.amounts import Amounts

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ProxyHandler(Protocol):
    """An ASGI 3 application, as any framework makes one. Its credentials stay in the worker; what it reaches by them,
    the run reaches.
    """

    def __call__(self, scope: Scope, receive: Receive, send: Send, /) -> Awaitable[None]:
        """Called in the worker's event loop for each request of one run, whose `scope["type"]` is `http`; several at a
        time. There is no lifespan."""


def proxy_variable(name: str) -> str:
    """The variable in which a run finds the URL of a proxy: TASKRUNNER_PROXY_MY_API of `my-api`."""
    return f"TASKRUNNER_PROXY_{name.upper().replace('-', '_')}"


@attrs.frozen
class Service:
    """A container beside a run, such as a database. It begins before the run's command and ends with the run."""

    image: str
    command: tuple[str, ...] = ()
    """Instead of the image's own; empty for that."""
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    ready: int | tuple[str, ...] | None = None
    """How it is known to be ready: a TCP port that accepts a connection, or a command in it that exits with 0. None: by
    the HEALTHCHECK of its image, or when it has started, without one."""
    limit: float = 60.0
    """Seconds until it must be ready. Otherwise the run is failed, `service-failed`, with the last lines of its log."""
    resources: Amounts = attrs.field(factory=Amounts)
    """What it may use: memory, CPUs and processes. What is absent is not limited by the task."""
