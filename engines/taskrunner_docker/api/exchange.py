"""One request and its answer on a connection of its own. Blocking: for threads.

Reading is not buffered beyond the head of an answer where the connection is upgraded: the bytes that follow belong to
the next protocol.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Self, cast

import attrs

from taskrunner_docker.api.docker_errors import MAX_ERROR, broken, read_refusal

HeaderLines = Sequence[tuple[str, str]]

_BUFFER = 1 << 18
"""Bytes of an answer that are taken from its socket at a time. Docker sends pieces of 32 KiB, each with its length
before it: with Python's own 8 KiB, each takes two calls, and the thread waits for Python's lock after each."""


@attrs.frozen
class Exchange:
    """An answer whose head has come. `close` ends the connection, and may be called again."""

    _answer: HTTPResponse
    _connection: socket.socket

    @classmethod
    def begin(
        cls,
        connection: socket.socket,
        method: str,
        target: str,
        headers: HeaderLines = (),
        body: Iterable[bytes] | None = None,
        *,
        chunked: bool = True,
    ) -> Self:
        """Sends a request on a new connection, and closes that when it fails. A body is sent in pieces as they come.

        Without `chunked` the request is HTTP/1.0, and the answer has no chunks, which take Docker half of the time of a
        large one. It ends with the connection: only what is in it says whether it is whole.

        Raises: DockerError, Unavailable, and what making the body raises.
        """
        answer = HTTPResponse(connection, method=method)
        answer.fp.close()
        answer.fp = cast("Any", connection.makefile("rb", buffering=_BUFFER))
        _ask(
            connection,
            answer,
            method,
            target,
            headers=headers,
            body=body,
            chunked=chunked,
            is_good=lambda status: status < HTTPStatus.BAD_REQUEST,
        )
        return cls(answer, connection)

    def read(self, size: int) -> bytes:
        """As many bytes of the body as that; fewer at its end only. Raises Unavailable."""
        try:
            return self._answer.read(size)
        except (OSError, HTTPException) as error:
            raise broken(error) from error

    def read1(self, size: int) -> bytes:
        """The next bytes of the body, as soon as there are any; empty at its end. Raises Unavailable."""
        try:
            return self._answer.read1(size)
        except (OSError, HTTPException) as error:
            raise broken(error) from error

    def close(self) -> None:
        self._answer.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def upgrade(connection: socket.socket, target: str, headers: HeaderLines) -> None:
    """Asks for another protocol on a new connection, and closes it when it fails. Raises: DockerError, Unavailable."""
    answer = HTTPResponse(connection, method="POST")
    answer.fp.close()
    answer.fp = cast("Any", connection.makefile("rb", buffering=0))
    _ask(
        connection,
        answer,
        "POST",
        target,
        headers=headers,
        is_good=lambda status: status == HTTPStatus.SWITCHING_PROTOCOLS,
    )
    answer.close()


class _Connection(HTTPConnection):
    """HTTP over a socket that is connected already."""

    def __init__(self, connection: socket.socket, *, chunked: bool) -> None:
        super().__init__("docker")
        self.sock = connection
        if not chunked:
            self._http_vsn, self._http_vsn_str = 10, "HTTP/1.0"


def _ask(
    connection: socket.socket,
    answer: HTTPResponse,
    method: str,
    target: str,
    *,
    headers: HeaderLines = (),
    body: Iterable[bytes] | None = None,
    chunked: bool = True,
    is_good: Callable[[int], bool],
) -> None:
    try:
        _send(_Connection(connection, chunked=chunked), method, target, headers, body)
        answer.begin()
        _check(answer, is_good)
    except BaseException as error:
        answer.close()
        connection.close()
        if isinstance(error, OSError | HTTPException):
            raise broken(error) from error
        raise


def _check(answer: HTTPResponse, is_good: Callable[[int], bool]) -> None:
    if not is_good(answer.status):
        raise read_refusal(answer.status, answer.read(MAX_ERROR))


def _send(http: HTTPConnection, method: str, target: str, headers: HeaderLines, body: Iterable[bytes] | None) -> None:
    http.putrequest(method, target)
    for name, value in headers:
        http.putheader(name, value)
    if body is not None:
        http.putheader("Transfer-Encoding", "chunked")
        with suppress(BrokenPipeError):  # the daemon has answered already
            http.endheaders(body, encode_chunked=True)
        return
    if method == "POST":
        http.putheader("Content-Length", "0")
    http.endheaders()
