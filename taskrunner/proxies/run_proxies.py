"""The proxies of one run."""

from __future__ import annotations

import socket
from collections.abc import Callable

import attrs

from taskrunner.interfaces.attachments import ProxyHandler, proxy_variable
from taskrunner.proxies.bounded_handler import BoundedHandler
from taskrunner.proxies.server import ProxyServer


@attrs.define
class RunProxies:
    """By their names. An engine makes the listeners, and says by which URL the run reaches them."""

    say: Callable[[str], None]
    """Appends a line to the log of the run."""
    urls: dict[str, str] = attrs.field(factory=dict, repr=False)
    _servers: list[ProxyServer] = attrs.field(factory=list)

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables by which the run finds them."""
        return {proxy_variable(name): url for name, url in self.urls.items()}

    async def add(self, name: str, handler: ProxyHandler, listener: socket.socket, url: str) -> None:
        """Takes over the listener. Raises NotSupported."""
        self._servers.append(await ProxyServer.serve(listener, BoundedHandler(handler, name, self.say)))
        self.urls[name] = url

    async def close(self) -> None:
        """Nothing is served any more. A second call does nothing."""
        while self._servers:
            await self._servers.pop().close()
