"""A gRPC server at the port of a queue, with the limits of the port.

gRPC's core counts the connections, ends half-open ones and refuses messages that are too large, before any Python code
runs. The server never shares its port with another process: two workers at one port would each get half of the calls.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import grpc
import grpc.aio

from taskrunner import limits
from taskrunner.errors import Unavailable
from taskrunner.queues.listening.listener import Listener
from taskrunner.queues.listening.tokens import BearerTokens

HEALTH = "/grpc.health.v1.Health/"
"""Is answered without a token: what probes a port, such as the kubelet, sends none. It says no more than an open port.
"""

HANDSHAKE_TIMEOUT = 10_000
"""Milliseconds for TLS and the first frames of HTTP/2."""

MAX_CALLS = limits.MAX_CAPACITY + 24
"""Of one connection at a time: a run in each slot, and some that are refused. With more than that, a client waits."""

MAX_HEADERS = 16 << 10
"""Bytes of the metadata of one call."""

PING_EVERY, PING_TIMEOUT = 30_000, 10_000
"""Milliseconds after which a connection that is silent is asked whether it lives, and for the answer. So a client whose
machine has gone frees the slot of its run within a minute."""

PINGS_APART = 1000
"""Milliseconds between two such pings of a client, with a call or without. gRPC ends the connection of one whose pings
come sooner, and all its calls with it. Clients ask every 8 to 30 s, in gRPC's own examples too.
"""

_LOG = logging.getLogger("grpc._cython.cygrpc")
"""Where gRPC reports what a method of a service has raised."""


@attrs.frozen
class GrpcPort:
    """A server that is not started, and the port that it has. Its start accepts calls."""

    server: grpc.aio.Server
    port: int


def open_grpc_port(listener: Listener) -> GrpcPort:
    """Binds the port. Services are added before the start of the server.

    Raises: Unavailable (the port is taken, or the host is not of this machine).
    """
    _LOG.addFilter(_is_no_disconnect)
    interceptors = [TokenCheck(listener.tokens)] if listener.tokens.required else []
    server = grpc.aio.server(interceptors=interceptors, options=list(_options(listener).items()))
    try:
        if listener.tls:
            return GrpcPort(server, server.add_secure_port(str(listener.address), _credentials(listener)))
        return GrpcPort(server, server.add_insecure_port(str(listener.address)))
    except RuntimeError as error:
        raise Unavailable(f"cannot listen at {listener.address}: {error}") from None


def _is_no_disconnect(record: logging.LogRecord) -> bool:
    """GRPC reports as an error, with its traceback, that a client has gone before the status was sent: any client could
    fill the log of the worker."""
    return not (record.exc_info and isinstance(record.exc_info[1], grpc.aio.BaseError))


def _options(listener: Listener) -> dict[str, int]:
    return {
        "grpc.so_reuseport": 0,
        "grpc.max_receive_message_length": listener.max_message,
        "grpc.max_allowed_incoming_connections": listener.max_connections,
        "grpc.max_connection_idle_ms": listener.idle_timeout * 1000,
        "grpc.server_handshake_timeout_ms": HANDSHAKE_TIMEOUT,
        "grpc.max_concurrent_streams": MAX_CALLS,
        "grpc.max_metadata_size": MAX_HEADERS // 2,
        "grpc.absolute_max_metadata_size": MAX_HEADERS,
        "grpc.keepalive_time_ms": PING_EVERY,
        "grpc.keepalive_timeout_ms": PING_TIMEOUT,
        "grpc.http2.ping_timeout_ms": PING_TIMEOUT,  # without it, newer versions wait for a minute
        "grpc.keepalive_permit_without_calls": 1,  # in both directions: else pings of a client must be 2 hours apart
        "grpc.http2.min_ping_interval_without_data_ms": PINGS_APART,
    }


def _credentials(listener: Listener) -> grpc.ServerCredentials:
    assert listener.tls  # noqa: S101  for mypy: the caller has looked
    pairs = [(listener.tls.key, listener.tls.certificate)]
    client_ca = listener.tls.client_ca or None
    return grpc.ssl_server_credentials(pairs, client_ca, require_client_auth=client_ca is not None)


class TokenCheck(grpc.aio.ServerInterceptor):
    """Ends each call without one of the tokens as UNAUTHENTICATED."""

    def __init__(self, tokens: BearerTokens) -> None:
        self._tokens = tokens
        self._refusal: grpc.RpcMethodHandler[Any, None] = grpc.unary_unary_rpc_method_handler(_refuse)

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        authorization = dict(handler_call_details.invocation_metadata or ()).get("authorization")
        if handler_call_details.method.startswith(HEALTH) or self._tokens.admits(authorization):
            return await continuation(handler_call_details)
        return self._refusal


async def _refuse(_: Any, context: Any) -> None:
    await context.abort(
        grpc.StatusCode.UNAUTHENTICATED, "send `authorization: Bearer TOKEN` with a token of the worker"
    )
