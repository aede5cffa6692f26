"""How the command of a fake run gets a URL: from the handler of a proxy, or from a fake service."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from taskrunner.interfaces.attachments import ProxyHandler, Service

FAILING = "failing"
"""The image of a fake service that does not get ready."""
ANSWER = "ANSWER"
"""The variable of a fake service whose value it answers."""


async def fetch(url: str, proxies: Mapping[str, ProxyHandler], services: Mapping[str, Service]) -> bytes:
    """The body of the answer; a line about it when nothing has this host name."""
    parts = urlsplit(url)
    if handler := proxies.get(parts.hostname or ""):
        return await _ask(handler, parts.path)
    if service := services.get(parts.hostname or ""):
        return service.env.get(ANSWER, "").encode()
    return f"no host {parts.hostname}\n".encode()


async def _ask(handler: ProxyHandler, path: str) -> bytes:
    body = bytearray()

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: MutableMapping[str, Any]) -> None:
        body.extend(event.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
    }
    await handler(scope, receive, send)
    return bytes(body)


__all__ = ["ANSWER", "FAILING", "fetch"]
