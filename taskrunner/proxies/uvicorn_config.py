"""How this project has uvicorn serve an application: over HTTP alone, silently, and saying nothing about itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from uvicorn import Config

from taskrunner.proxies.connection import BoundedConnection

KEEP_ALIVE = 5
"""Seconds that a connection is kept for another request: uvicorn's default."""


def loaded_config(
    application: Callable[..., Awaitable[None]],
    *,
    connection: type[BoundedConnection] = BoundedConnection,
    max_head: int,
    keep_alive: int = KEEP_ALIVE,
) -> Config:
    """`application` speaks ASGI. `max_head` are the bytes of a request before its body."""
    config = Config(
        application,
        http=connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        h11_max_incomplete_event_size=max_head,
        timeout_keep_alive=keep_alive,
    )
    config.load()
    return config
