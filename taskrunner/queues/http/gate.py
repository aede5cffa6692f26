"""Who gets in: clients with a token, and no browser on behalf of a page."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from ipaddress import ip_address

import attrs
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from taskrunner.queues.http.problems import problem
from taskrunner.queues.listening import BearerTokens

HEALTH = "/health"
"""Is answered without a token, for what probes a port. It says no more than an open port."""


@attrs.frozen
class Gate:
    """An ASGI application in front of another.

    A page that a browser shows can make it send requests to this machine, also to loopback. Such a request has an
    `Origin`, or comes by a name that leads here for the purpose (DNS rebinding). So neither is served; without tokens,
    the server is reached by its address or as `localhost` only.
    """

    inner: ASGIApp
    tokens: BearerTokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if scope["path"] != HEALTH:
            if not self.tokens.admits(headers.get("authorization")):
                refusal = problem(
                    HTTPStatus.UNAUTHORIZED,
                    "send `Authorization: Bearer TOKEN` with a token of the server",
                    headers={"WWW-Authenticate": 'Bearer realm="taskrunner"'},
                )
                await refusal(scope, receive, send)
                return
            if why := next(self._browser(headers), ""):
                await problem(HTTPStatus.FORBIDDEN, why)(scope, receive, send)
                return
        await self.inner(scope, receive, send)

    def _browser(self, headers: Headers) -> Iterator[str]:
        if "origin" in headers:
            yield "pages of a browser are not served: send no Origin"
        if not self.tokens.required and not is_own_name(headers.get("host", "")):
            yield "without tokens, this server is reached by its address or as localhost: write that into the URL"


def is_own_name(host: str) -> bool:
    """Whether a `Host` is an address, or `localhost`: nobody else decides where these lead."""
    name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    try:
        ip_address(name)
    except ValueError:
        return name.lower() == "localhost"
    return True
