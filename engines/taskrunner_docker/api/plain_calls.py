"""docker-py, whose calls can be ended: by itself it knows no limit but that of a single read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import docker
import requests
from docker.errors import APIError, DockerException
from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool

from taskrunner.connections import Connections
from taskrunner_docker.api.docker_errors import DockerError, read_refusal

FAILURES = (DockerException, requests.exceptions.RequestException)
"""What a call of docker-py's raises."""
_calls = threading.local()


def plain_client(socket: str, version: str, timeout: int) -> docker.APIClient:
    """A client for the socket at that path, which does not ask the daemon anything yet. `timeout`: seconds of one read.
    Raises: DockerException."""
    client = docker.APIClient(f"unix://{socket}", version=version, timeout=timeout)
    client.mount("http+docker://", _Adapter(f"http+unix://{socket}", timeout))
    return client


@contextmanager
def holding(connections: Connections) -> Iterator[None]:
    """Adds the connections of the calls that this thread makes meanwhile to those of one call."""
    _calls.connections = connections
    try:
        yield
    finally:
        del _calls.connections
        connections.close()


def refusal(error: APIError) -> DockerError:
    """The refusal that docker-py has made its own error of."""
    if error.response is None:
        return DockerError(500, str(error.explanation or "no reason given"))
    return read_refusal(error.response.status_code, error.response.content)


class _HeldConnection(UnixHTTPConnection):
    def request(self, *arguments: Any, **options: Any) -> None:
        if self.sock is None:
            self.connect()
        _calls.connections.hold(self.sock)
        super().request(*arguments, **options)


class _Pool(UnixHTTPConnectionPool):
    def _new_conn(self) -> Any:
        return _HeldConnection(self.base_url, self.socket_path, cast("int", self.timeout))


class _Adapter(UnixHTTPAdapter):
    def get_connection(self, url: Any, proxies: object = None) -> _Pool:  # noqa: ARG002  the base has it
        with self.pools.lock:
            pool = self.pools.get(url)
            if pool is None:
                pool = self.pools[url] = _Pool(url, self.socket_path, self.timeout, maxsize=self.max_pool_size)
        return pool
