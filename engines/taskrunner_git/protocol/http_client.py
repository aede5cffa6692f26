"""Git over HTTP, with time limits, on connections that another thread can interrupt."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit

import urllib3
from dulwich.client import Urllib3HttpGitClient, default_urllib3_manager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from taskrunner_git.allowed_remote import check_remote
from taskrunner_git.failures import DumbHttp, HttpStatus, NotGit, clone_failed
from taskrunner_git.fetch_context import FetchContext
from taskrunner_git.protocol.answers import Answers
from taskrunner_git.protocol.authorities import tls_context
from taskrunner_git.protocol.timeouts import CONNECT_TIMEOUT, READ_TIMEOUT
from taskrunner_git.remote import Remote, parse_url

_REDIRECTS = 5
_LINE = 100
_PORTS = {"http": 80, "https": 443}
_PLAIN_REFS = re.compile(rb"[0-9a-f]{40,64}\trefs/")
"""The file `info/refs` of a repository, as a server of plain files gives it out."""


class HttpClient(Urllib3HttpGitClient):
    """dulwich makes the requests, and this class sends them: redirects and credentials do not depend on its version."""

    def __init__(self, remote: Remote, context: FetchContext, answers: Answers) -> None:
        super().__init__(str(remote), pool_manager=_manager(str(remote), context))
        self._remote, self._answers, self._rules = remote, answers, context.rules
        self._own_origin = _origin(str(remote))

    def _http_request(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,  # noqa: ARG002  dulwich's
    ) -> Any:
        if data is None and "/info/refs?service=" not in url:
            raise clone_failed(f"{self._remote} asks for a file from another address, which is not supported")
        response: Any = self._send(url, headers or {}, data)
        if response.status != HTTPStatus.OK:
            response.close()
            raise HttpStatus(response.status, response.headers.get("Retry-After", ""))
        response.content_type = response.headers.get("Content-Type", "")
        if not response.content_type.startswith("application/x-git-"):
            start = response.read(_LINE)
            response.close()
            raise DumbHttp if _PLAIN_REFS.match(start) else NotGit
        return response, self._answers.checked(response.read)

    def _send(self, url: str, headers: Mapping[str, str], data: bytes | Iterator[bytes] | None) -> Any:
        """The answer after all redirects. As in git, only a request without data is redirected. The body of a redirect
        is not read, since it may be endless; nor is one decompressed, which nobody has asked for."""
        method, asked = ("GET", url) if data is None else ("POST", url)
        for _ in range(_REDIRECTS + 1):
            fields = {**self.pool_manager.headers, **headers, "Pragma": "no-cache", **self._login(url)}
            response: Any = self.pool_manager.request(
                method, url, headers=fields, body=data, preload_content=False, decode_content=False, redirect=False
            )
            target = response.get_redirect_location()
            if not target:
                response.redirect_location = "" if url == asked else url
                return response
            response.close()
            if data is not None:
                raise clone_failed(f"{self._remote} redirects the request for a pack, which git does not follow either")
            url = urljoin(url, target)
            self._check_target(url)
        raise clone_failed(f"{self._remote} redirects more than {_REDIRECTS} times: is it a loop?")

    def _check_target(self, url: str) -> None:
        """A server may redirect to no repository that the task could not have named. Raises TaskFailed."""
        target = parse_url(url.partition("/info/refs?")[0])
        if not target.is_http:
            raise clone_failed(f"{self._remote} redirects to {target}, which is no HTTP")
        check_remote(target, self._rules)

    def _login(self, url: str) -> dict[str, str]:
        """The header with the credentials, for no other server than the one that they belong to."""
        remote = self._remote
        if not (remote.user or remote.password) or _origin(url) != self._own_origin:
            return {}
        return urllib3.make_headers(basic_auth=f"{remote.user}:{remote.password}")

    def close(self) -> None:
        self.pool_manager.clear()


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port. Raises ValueError."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)


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
    manager.connection_pool_kw["retries"] = urllib3.Retry(0, redirect=False, respect_retry_after_header=False)
    return manager  # type: ignore[no-any-return]
