"""The Docker daemon of this machine: plain calls through docker-py, lasting answers on sockets of their own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar
from urllib.parse import quote, urlencode

import attrs
import docker
import requests
from docker.errors import APIError, DockerException

from taskrunner.errors import ConfigError, Unavailable
from taskrunner_docker.api.async_stream import DockerError, Stream, no_answer, request

if TYPE_CHECKING:
    from docker import APIClient

P = ParamSpec("P")
T = TypeVar("T")

CALL_TIMEOUT = 120
"""Seconds that Docker may take over one call: removing a large container from a slow disk takes one of them."""
PING_TIMEOUT = 5.0
"""Seconds for a sign of life."""
_THREADS = 64
"""Most calls at a time. They are short, and threads are made as they are needed."""
_USUAL = "/var/run/docker.sock"


@attrs.frozen
class Daemon:
    """A connection to Docker that has been tried. Used from one event loop; `dispose` ends it."""

    socket: str
    """Path of its unix socket."""
    api: APIClient
    """For calls in threads: through `call`, or from a thread of one's own."""
    _threads: ThreadPoolExecutor

    @classmethod
    async def connect(cls, host: str) -> Self:
        """Raises ConfigError (no unix socket), Unavailable (nobody there, or no permission)."""
        socket = find_socket(host)
        await ping(socket)
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="docker")
        connecting = threads.submit(docker.APIClient, f"unix://{socket}", version="auto", timeout=CALL_TIMEOUT)
        try:
            return cls(socket, await asyncio.wrap_future(connecting), threads)
        except BaseException as error:
            threads.shutdown(wait=False)
            if isinstance(error, DockerException):
                raise Unavailable(no_answer(socket, error)) from error
            raise

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a blocking function of docker-py's, or one that uses it, in a thread.

        When it is cancelled, it waits for the function to end, so that whoever undoes things then knows what there is.
        Raises: DockerError, Unavailable.
        """
        try:
            return await self.thread(function, *args, **kwargs)
        except APIError as error:
            raise _refusal(error) from None  # its chain shows the request, with the environment in it
        except requests.exceptions.Timeout:
            raise Unavailable(f"Docker has not answered within {CALL_TIMEOUT} seconds ({self.socket})") from None
        except (DockerException, requests.exceptions.RequestException) as error:
            raise Unavailable(no_answer(self.socket, error)) from error

    async def thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `call`, for a function that does not talk to Docker: its errors stay what they are."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()  # seen: the cancellation is what counts
            raise

    async def stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        upgrade: bool = False,
    ) -> Stream:
        """Begins an answer that lasts. The caller closes it. Raises: DockerError, Unavailable."""
        target = self.target(path, query)
        return await request(self.socket, method, target, body=body, headers=headers, upgrade=upgrade)

    def target(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Where a request goes, in the version of the API that was negotiated."""
        return f"/v{self.api.api_version}{quote(path)}" + (f"?{urlencode(query)}" if query else "")

    def dispose(self) -> None:
        """Lets go of sockets and threads, without waiting for calls that are under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.api.close()


async def ping(socket: str) -> None:
    """Asks for a sign of life. Raises Unavailable, with what to do."""
    try:
        async with asyncio.timeout(PING_TIMEOUT), await request(socket, "GET", "/_ping"):
            pass
    except TimeoutError:
        raise Unavailable(f"Docker at {socket} has not given a sign of life for {PING_TIMEOUT:.0f} seconds") from None
    except DockerError as error:
        raise Unavailable(f"Docker at {socket} is not well: {error}") from error


def find_socket(host: str) -> str:
    """The path of Docker's socket: what is configured, else $DOCKER_HOST, else the first usual one that exists.

    Raises ConfigError for anything but a unix socket: caches are folders that the worker and Docker must both see.
    """
    named = host or os.environ.get("DOCKER_HOST", "")
    where = "`host` in [docker]" if host else "DOCKER_HOST"
    if named and not named.startswith(("unix://", "/")):
        raise ConfigError(f"{where} is {named!r}: only unix:///path works, since Docker must be on this machine")
    if named:
        return named.removeprefix("unix://")
    return next((path for path in _usual_sockets() if Path(path).exists()), _USUAL)


def _usual_sockets() -> list[str]:
    rootless = os.environ.get("XDG_RUNTIME_DIR")
    desktop = Path.home() / ".docker/run/docker.sock"
    return [_USUAL, *([f"{rootless}/docker.sock"] if rootless else []), str(desktop)]


def _refusal(error: APIError) -> DockerError:
    status: Any = error.status_code
    return DockerError(int(status or 500), str(error.explanation or "no reason given").strip())
