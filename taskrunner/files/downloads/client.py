"""One request over HTTP and its redirects, on connections that can be ended from another thread."""

from __future__ import annotations

import socket
import ssl
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from taskrunner.connections import Connections
from taskrunner.errors import TaskFailedInternally
from taskrunner.files.downloads.location import Location, download_failed

REDIRECTS = 10
"""As many as browsers and curl's users are used to; real downloads have one to three."""
_REDIRECT_STATUS = {301, 302, 303, 307, 308}


class Client:
    """Used by one thread for one attempt. `close` ends all connections."""

    def __init__(self, connections: Connections, timeout: urllib3.Timeout, ca_file: Path | None) -> None:
        self._connections, self._timeout, self._ca_file = connections, timeout, ca_file
        self._managers: list[urllib3.PoolManager] = []
        self.location: Location | None = None
        """Where the last request went: what an error is about."""

    def get(self, location: Location, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """The response that is no redirect, with its body unread and as it was sent.

        Raises: TaskFailed (redirects without an end), TaskFailedInternally (the file of authorities), what urllib3
        raises, Interrupted.
        """
        for _ in range(REDIRECTS + 1):
            self._connections.check()
            self.location = location
            response = self._request(location, headers)
            to = response.headers.get("Location")
            if response.status not in _REDIRECT_STATUS or not to:
                return response
            response.close()
            location = location.redirected(_readable(to))
        raise download_failed(f"{location} is behind more than {REDIRECTS} redirects: do they go in a circle?")

    def close(self) -> None:
        for manager in self._managers:
            manager.clear()

    def put(
        self, location: Location, body: Iterable[bytes], size: int, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        """The response to a file of `size` bytes, which is sent to this location and nowhere else.

        Raises: what urllib3 raises, Interrupted.
        """
        self._connections.check()
        self.location = location
        return self._request(location, {"Content-Length": str(size)} | dict(headers), "PUT", body)

    def _request(
        self,
        location: Location,
        headers: Mapping[str, str],
        method: str = "GET",
        body: Iterable[bytes] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        manager = self._manager(location)
        self._managers.append(manager)
        own = {"Accept-Encoding": "identity", "User-Agent": "taskrunner"}
        if location.authorization:
            own["Authorization"] = location.authorization
        return manager.request(
            method,
            location.url,
            body=body,
            headers=own | dict(headers),
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=self._timeout,
        )

    def _manager(self, location: Location) -> urllib3.PoolManager:
        """A new one for each request. The environment's proxy is used, as by every program."""
        scheme, host, _ = location.origin
        options: dict[str, Any] = {"ssl_context": self._tls()} if scheme == "https" else {}
        proxy = urllib.request.getproxies().get(scheme)
        manager: Any
        if proxy and not urllib.request.proxy_bypass(host or ""):
            login = urllib3.util.parse_url(proxy).auth
            secret = urllib3.make_headers(proxy_basic_auth=login) if login else None
            manager = urllib3.ProxyManager(proxy, proxy_headers=secret, **options)
        else:
            manager = urllib3.PoolManager(**options)
        manager.pool_classes_by_scheme = _pools(self._connections)
        return manager  # type: ignore[no-any-return]

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._ca_file:
            try:
                context.load_verify_locations(self._ca_file)
            except OSError as error:
                why = "it has no certificates" if isinstance(error, ssl.SSLError) else error.strerror
                raise TaskFailedInternally(f"download: {self._ca_file} cannot be used: {why}") from None
        return context


def _readable(header: str) -> str:
    """A URL that a server has sent without quoting it: urllib3 takes the bytes for Latin-1, and most mean UTF-8."""
    return header.encode("latin-1", "replace").decode("utf-8", "replace").strip().replace(" ", "%20")


def _pools(connections: Connections) -> dict[str, type[HTTPConnectionPool]]:
    """Pools whose sockets are held. urllib3 has no public place to get at a socket before TLS; `_new_conn` is where it
    is made."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connections.hold(super()._new_conn())

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connections.hold(super()._new_conn())

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
