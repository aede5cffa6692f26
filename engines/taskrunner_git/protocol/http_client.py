"""Git over HTTP, with time limits, on connections that another thread can interrupt."""

from __future__ import annotations

import re
import socket
from http import HTTPStatus
from typing import Any

import urllib3
from dulwich.client import Urllib3HttpGitClient, default_urllib3_manager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from taskrunner_git.failures import DumbHttp, HttpStatus, NotGit
from taskrunner_git.fetch_context import FetchContext
from taskrunner_git.protocol.authorities import tls_context
from taskrunner_git.protocol.packets import raise_error_packets
from taskrunner_git.protocol.timeouts import CONNECT_TIMEOUT, READ_TIMEOUT
from taskrunner_git.remote import Remote

_REDIRECTS = 5
_LINE = 100
_PLAIN_REFS = re.compile(rb"[0-9a-f]{40,64}\trefs/")
"""The file `info/refs` of a repository, as a server of plain files gives it out."""


class HttpClient(Urllib3HttpGitClient):
    def __init__(self, remote: Remote, context: FetchContext) -> None:
        manager = _manager(str(remote), context)
        super().__init__(str(remote), pool_manager=manager, username=remote.user or None, password=remote.password)

    def _http_request(self, url: str, headers: Any = None, data: Any = None, raise_for_status: bool = True) -> Any:  # noqa: ARG002  dulwich's
        response, read = super()._http_request(url, headers, data, raise_for_status=False)
        if response.status != HTTPStatus.OK:
            response.close()
            raise HttpStatus(response.status, response.headers.get("Retry-After", ""))
        if not response.headers.get("Content-Type", "").startswith("application/x-git-"):
            start = read(_LINE)
            response.close()
            raise DumbHttp if _PLAIN_REFS.match(start) else NotGit
        return response, raise_error_packets(read)

    def close(self) -> None:
        self.pool_manager.clear()


def _manager(url: str, context: FetchContext) -> urllib3.PoolManager:
    """Connections that can be interrupted. urllib3 gives no public access to a socket before TLS; `_new_conn` makes
    it."""
    connections = context.connections

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connections.hold(super()._new_conn())

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            self.ssl_context = tls_context(context.ca_file)
            super().connect()

        def _new_conn(self) -> socket.socket:
            return connections.hold(super()._new_conn())

    manager: Any = default_urllib3_manager(None, base_url=url)
    pools = {"http": (HTTPConnectionPool, Plain), "https": (HTTPSConnectionPool, Secure)}
    manager.pool_classes_by_scheme = {
        scheme: type(pool.__name__, (pool,), {"ConnectionCls": connection})
        for scheme, (pool, connection) in pools.items()
    }
    manager.connection_pool_kw["timeout"] = urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT)
    manager.connection_pool_kw["retries"] = urllib3.Retry(
        connect=0, read=0, other=0, status=0, redirect=_REDIRECTS, respect_retry_after_header=False
    )
    return manager  # type: ignore[no-any-return]
