"""The proxy of `features.taskclusterProxy`: requests of a run to Taskcluster's services, signed by the worker.

The run never sees its credentials. Each request is signed with those of the claim as it is at that moment, limited to
the scopes of the task; the scopes by which the worker reports for the run are left out.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import aiohttp
import attrs
from yarl import URL

from taskrunner.interfaces.attachments import Receive, Scope, Send
from taskrunner.interfaces.queue import HeldClaim
from taskrunner.queues.taskcluster.claim import TaskclusterClaim, credentials_of
from taskrunner.queues.taskcluster.service.client import TaskclusterServices, network_problem
from taskrunner.queues.taskcluster.service.signing import authorization

_API = re.compile(r"/api/[A-Za-z0-9-]+/v[0-9]+/.*", re.DOTALL)
"""A path of a service, as below the root URL."""

_SHORT = re.compile(r"/[A-Za-z0-9-]+/v[0-9]+/.*", re.DOTALL)
"""The older form, without `/api`."""

_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
})  # fmt: skip
"""Headers of one connection alone (RFC 9110, 7.6.1)."""

_REPLACED = frozenset({b"host", b"authorization", b"cookie", b"expect"})

Headers = Iterable[tuple[bytes, bytes]]


@attrs.frozen
class SigningProxy:
    """An ASGI application for one run."""

    services: TaskclusterServices
    held: HeldClaim

    async def __call__(self, scope: Scope, receive: Receive, send: Send, /) -> None:
        path = bytes(scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        target = _target(path)
        if target is None:
            await _answer(send, 404, "write http://taskcluster/api/SERVICE/v1/...")
            return
        query = bytes(scope.get("query_string", b"")).decode("latin-1")
        url = f"{self.services.root_url}{target}" + (f"?{query}" if query else "")
        try:
            headers = [*_kept(scope["headers"], _REPLACED), (b"authorization", self._sign(scope["method"], url))]
        except ValueError:
            await _answer(send, 400, "this is no URL")
            return
        await self._pass_on(scope["method"], url, headers, receive, send)

    def _sign(self, method: str, url: str) -> bytes:
        """The header `Authorization`. The body is not signed: it is sent while it comes in."""
        claim = self.held()
        scopes = claim.scopes_of_run() if isinstance(claim, TaskclusterClaim) else []
        return authorization(credentials_of(claim), self.services.root_url, scopes, method, url).encode()

    async def _pass_on(
        self, method: str, url: str, headers: list[tuple[bytes, bytes]], receive: Receive, send: Send
    ) -> None:
        begun = False
        request = self.services.transfers.request(
            method,
            URL(url, encoded=True),
            headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers],
            data=_body(receive) if _has_body(headers) else None,
            skip_auto_headers=("Content-Type", "User-Agent", "Accept", "Accept-Encoding"),
            allow_redirects=False,
        )
        try:
            async with request as answer:
                begun = True
                start = {"status": answer.status, "headers": _kept(answer.raw_headers, frozenset())}
                await send({"type": "http.response.start", **start})
                async for chunk in answer.content.iter_any():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except (aiohttp.ClientError, OSError) as error:
            if begun:
                raise ConnectionError(f"the answer broke off: {type(error).__name__}") from None
            await _answer(send, 502, f"Taskcluster does not answer: {network_problem(error)}")
        else:
            await send({"type": "http.response.body", "body": b""})


def _target(path: str) -> str | None:
    """The path below the root URL; None for one of no service."""
    if any(part in {".", ".."} for part in path.split("/")):
        return None
    if _API.fullmatch(path):
        return path
    return f"/api{path}" if _SHORT.fullmatch(path) else None


def _kept(headers: Headers, dropped: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    found = [(name.lower(), value) for name, value in headers]
    named = {word.strip().lower() for name, value in found if name == b"connection" for word in value.split(b",")}
    return [(name, value) for name, value in found if name not in _HOP | dropped | named]


def _has_body(headers: Headers) -> bool:
    return any(name == b"content-length" and value != b"0" for name, value in headers) or any(
        name == b"content-type" for name, _ in headers
    )


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message: Mapping[str, Any] = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the run closed the connection")
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})
