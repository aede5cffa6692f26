"""A proxy on a port of this machine, which every user of it can connect to: the first part of its paths is a secret.

A process shares the network of the machine, also under an account of its own. It gets a URL with 256 random bits in the
path, by a variable, which other users cannot read. Like a password, the URL does not belong on a command line, where
everybody sees it. The log of the run hides it.
"""

from __future__ import annotations

import hmac
import secrets

import attrs

from taskrunner.interfaces.attachments import ProxyHandler, Receive, Scope, Send

_NOT_FOUND = {
    "type": "http.response.start",
    "status": 404,
    "headers": [(b"content-length", b"0"), (b"connection", b"close")],
}


@attrs.frozen
class TokenGuard:
    """An ASGI application: passes requests below `/TOKEN` to the handler, with the paths that it would have alone."""

    handler: ProxyHandler
    token: str = attrs.field(factory=lambda: secrets.token_urlsafe(32), repr=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send, /) -> None:
        given, _, rest = scope["raw_path"].removeprefix(b"/").partition(b"/")
        if not hmac.compare_digest(given, self.token.encode()):
            await send(_NOT_FOUND)
            await send({"type": "http.response.body"})
            return
        path = scope["path"].removeprefix(f"/{self.token}") or "/"
        await self.handler({**scope, "path": path, "raw_path": b"/" + rest}, receive, send)
