"""The client of the Docker daemon on this machine: its socket, the version of its API, and the limits of time.

Plain calls go through docker-py in threads, lasting answers through the event loop, and what threads read themselves
(the files of a container, a build and its session) through blocking connections.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar
from urllib.parse import quote, urlencode

import attrs
from docker.errors import APIError
from requests.exceptions import Timeout

from taskrunner.blocking import OverLimit, run_blocking, wait_through
from taskrunner.connections import Connections
from taskrunner.errors import ConfigError, Unavailable
from taskrunner_docker.api.async_stream import Stream, request
from taskrunner_docker.api.daemon_socket import connect, find_socket
from taskrunner_docker.api.docker_errors import DockerError, no_answer, unreachable
from taskrunner_docker.api.exchange import Exchange, HeaderLines, upgrade
from taskrunner_docker.api.plain_calls import FAILURES, holding, plain_client, refusal
from taskrunner_docker.api.watch import DaemonWatch

if TYPE_CHECKING:
    from docker import APIClient

P = ParamSpec("P")
T = TypeVar("T")

CALL_TIMEOUT = 120
"""Seconds of one call, until an answer begins, and of silence in it: removing a large container from a slow disk takes
one of them."""
PING_TIMEOUT = 5.0
"""Seconds of a ping."""
END_TIMEOUT = 5.0
"""Seconds for the thread of a call whose connection was closed."""
_OLDEST_API = (1, 39)
"""Docker 18.09: the first whose `/build` and `/session` reach BuildKit."""
_NEWEST_API = (1, 52)
"""`/session` is deprecated from 1.53 on. A daemon keeps speaking the versions before."""

FIRST_OF_23 = (1, 42)
"""The API of Docker 23, the next release after 20.10."""

Query = Mapping[str, str] | Sequence[tuple[str, str]]


@attrs.frozen
class DockerClient:
    """A daemon that has answered. Used from one event loop, and from the threads of its calls."""

    socket_path: str
    version: str
    """Of the API, as in a URL: `1.41`."""
    api: APIClient
    """docker-py's client; its methods are the functions that `call` takes."""
    watch: DaemonWatch
    """Closes what lasts when the daemon does not answer any more."""

    @classmethod
    async def connect(cls, host: str, environment: Mapping[str, str] = os.environ) -> Self:
        """Raises ConfigError (no unix socket; a daemon that is too old), Unavailable (no answer; no permission)."""
        path = find_socket(host, environment)
        version = _negotiate(path, await _ping(path))
        try:
            api = await run_blocking(
                lambda: plain_client(path, version, CALL_TIMEOUT), limit=CALL_TIMEOUT, doing="opening docker-py"
            )
        except FAILURES as error:
            raise unreachable(path, error) from error
        return cls(path, version, api, DaemonWatch(partial(_ping, path)))

    def speaks(self, version: tuple[int, int]) -> bool:
        """Whether the daemon's API is at least of this version."""
        return tuple(map(int, self.version.split("."))) >= version

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a function of docker-py's, or one that uses it, in a thread.

        A cancelled call waits for the function to end, so that what the function has made is known to the code that
        undoes it. Raises: DockerError, Unavailable.
        """
        return await self.call_within(CALL_TIMEOUT, partial(function, *args, **kwargs))

    async def call_within(self, limit: float, function: Callable[[], T]) -> T:
        """As `call`, for a function that may take longer: `limit` seconds."""
        connections = Connections()

        def work() -> T:
            with holding(connections):
                return function()

        calling = asyncio.ensure_future(
            run_blocking(work, limit=limit, doing="a call", interrupt=connections.interrupt, grace=END_TIMEOUT)
        )
        try:
            await wait_through(calling)
        except asyncio.CancelledError:
            calling.exception()  # seen: the cancellation is what counts
            raise
        return self._result(calling, limit)

    async def stream(
        self,
        method: str,
        path: str,
        query: Query = (),
        *,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        upgrade: bool = False,
    ) -> Stream:
        """Begins an answer that lasts. The caller closes it. Raises: DockerError, Unavailable."""
        target = self.target(path, query)
        try:
            stream = await request(
                self.socket_path, method, target, body=body, headers=headers, upgrade=upgrade, limit=CALL_TIMEOUT
            )
        except Unavailable as error:
            self.watch.suspect(error.message)
            raise
        stream.closed = self.watch.add(stream.close)
        return stream

    def exchange(
        self,
        connections: Connections,
        method: str,
        path: str,
        query: Query = (),
        *,
        headers: HeaderLines = (),
        body: Iterable[bytes] | None = None,
        silence: float | None = CALL_TIMEOUT,
        chunked: bool = True,
    ) -> Exchange:
        """Sends a request, and returns when the answer has begun. Blocks.

        `silence` is how many seconds may pass without a byte; None for any number. `chunked` as in `Exchange.begin`.
        Raises: DockerError, Unavailable (also when `connections` are interrupted).
        """
        connection = connect(self.socket_path, connections, silence or CALL_TIMEOUT)
        connection.settimeout(silence)
        return Exchange.begin(connection, method, self.target(path, query), headers, body, chunked=chunked)

    def upgrade(self, connections: Connections, path: str, headers: HeaderLines) -> socket.socket:
        """A connection that speaks another protocol from now on. Blocks. Raises: DockerError, Unavailable."""
        connection = connect(self.socket_path, connections, CALL_TIMEOUT)
        upgrade(connection, self.target(path), headers)
        return connection

    def target(self, path: str, query: Query = ()) -> str:
        """The URL of a request, in the version of the API that was negotiated."""
        return f"/v{self.version}{quote(path)}" + (f"?{urlencode(query)}" if query else "")

    def dispose(self) -> None:
        """Closes the connections that wait for a call. A call that still runs closes its own."""
        self.watch.end()
        self.api.close()

    def _result(self, calling: asyncio.Future[T], limit: float) -> T:
        try:
            return calling.result()
        except APIError as error:
            raise refusal(error) from None  # its chain shows the request, with the environment in it
        except OverLimit:
            raise self._silence(limit) from None
        except Timeout:
            raise self._silence(CALL_TIMEOUT) from None
        except FAILURES as error:
            problem = unreachable(self.socket_path, error)
            self.watch.suspect(problem.message)
            raise problem from error

    def _silence(self, limit: float) -> Unavailable:
        error = no_answer(self.socket_path, limit)
        if limit >= CALL_TIMEOUT:
            self.watch.note_silence(error.message)
        return error


async def _ping(path: str) -> Mapping[str, str]:
    """The headers of the answer. Raises Unavailable."""
    try:
        async with await request(path, "GET", "/_ping", limit=PING_TIMEOUT) as answer:
            return answer.headers
    except DockerError as error:
        raise Unavailable(f"Docker at {path} is not well: {error}") from error


def _negotiate(path: str, headers: Mapping[str, str]) -> str:
    """The newest version of the API that both sides speak. Raises ConfigError, Unavailable (no Docker)."""
    try:
        major, minor = map(int, headers["api-version"].split("."))
    except (KeyError, ValueError):
        raise Unavailable(f"the server at {path} does not say which version of Docker's API it speaks") from None
    if (major, minor) < _OLDEST_API:
        raise ConfigError(f"Docker at {path} is too old: it speaks API {major}.{minor}, and 1.39 (18.09) is needed")
    return ".".join(map(str, min((major, minor), _NEWEST_API)))
