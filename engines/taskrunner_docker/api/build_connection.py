"""Where the Docker daemon is, and how to talk to it: plain requests, and connections that are taken over."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Self
from urllib.parse import urlsplit

import attrs
from docker.errors import DockerException
from docker.utils import parse_host

from taskrunner.errors import ConfigError, NotSupported, TaskFailedInternally, Unavailable
from taskrunner_docker.api.lifeline import Lifeline

CONNECT_TIMEOUT = 10  # seconds to a daemon that is near
ANSWER_TIMEOUT = 60  # seconds for the head of an answer; a daemon under load takes a while
NEWEST_API = (1, 52)  # `/session` is deprecated from 1.53 on; a daemon keeps speaking the versions before
OLDEST_API = (1, 39)  # the first whose `/build` and `/session` reach BuildKit
MAX_HEAD = 1 << 16  # bytes of an answer's head
MAX_ERROR = 1 << 16  # bytes of an error's text


@attrs.frozen
class Daemon:
    """The address of one daemon."""

    unix_path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, base_url: str) -> Self:
        """Reads what DOCKER_HOST may hold: `unix:///run/docker.sock`, `tcp://127.0.0.1:2375`; empty: the usual socket.

        Raises: ConfigError, NotSupported (TLS, ssh).
        """
        try:
            url = urlsplit(str(parse_host(base_url)))
        except DockerException as error:
            raise ConfigError(f"the address of the Docker daemon cannot be read: {error}") from error
        if url.scheme == "http+unix":
            return cls(unix_path=url.path)
        if url.scheme == "http":
            return cls(host=url.hostname or "", port=url.port or 0)
        raise NotSupported(
            f"image builds reach the daemon by unix:// or plain tcp://, not by {url.scheme}: name its socket"
        )

    def connect(self, lifeline: Lifeline) -> socket.socket:
        """A connection that the lifeline holds. Raises Unavailable."""
        family = socket.AF_UNIX if self.unix_path else socket.AF_INET6 if ":" in self.host else socket.AF_INET
        connection = socket.socket(family)
        try:
            lifeline.hold(connection)
            connection.settimeout(CONNECT_TIMEOUT)
            connection.connect(self.unix_path or (self.host, self.port))
            if not self.unix_path:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as error:
            connection.close()
            raise Unavailable(f"the Docker daemon at {self} does not answer: {error}") from error
        connection.settimeout(ANSWER_TIMEOUT)
        return connection

    def __str__(self) -> str:
        return self.unix_path or f"{self.host}:{self.port}"


class _Connection(HTTPConnection):
    """An HTTP connection over a socket that is connected already."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__("docker")
        self.sock = connection


@attrs.frozen
class Api:
    """A daemon, with the version of its API that we speak."""

    daemon: Daemon
    version: str

    @classmethod
    def negotiate(cls, daemon: Daemon, lifeline: Lifeline) -> Self:
        """Asks the daemon what it speaks. Raises Unavailable, NotSupported (it is too old to build)."""
        with _exchange(daemon, lifeline, "GET", "/version") as answer:
            newest = _newest(answer)
        if newest < OLDEST_API:
            raise NotSupported(
                f"the Docker daemon at {daemon} is too old to build with BuildKit: it needs API 1.39, Docker 18.09"
            )
        return cls(daemon, ".".join(map(str, min(newest, NEWEST_API))))

    def request(
        self, lifeline: Lifeline, method: str, path: str, *, silent: bool = False
    ) -> contextlib.AbstractContextManager[HTTPResponse]:
        """Sends a request without a body; the answer is to be read within the context. `silent`: it takes any time.

        Raises: Unavailable (also when the connection ends while it is read), TaskFailedInternally (the daemon refuses).
        """
        return _exchange(self.daemon, lifeline, method, f"/v{self.version}{path}", silent=silent)

    def take_over(self, lifeline: Lifeline, path: str, headers: Sequence[tuple[str, str]]) -> socket.socket:
        """Sends a request that turns the connection into something else, and gives it once the daemon has agreed.

        Raises: Unavailable (it did not agree).
        """
        lines = [f"POST /v{self.version}{path} HTTP/1.1", "Host: docker", "Content-Length: 0"]
        lines += [f"{name}: {value}" for name, value in headers]
        connection = self.daemon.connect(lifeline)
        try:
            connection.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
            status = _read_head(connection).split(b"\r\n")[0].decode("ascii", "replace")
        except OSError as error:
            connection.close()
            raise Unavailable(f"the Docker daemon at {self.daemon} went away: {error}") from error
        if " 101 " not in status:
            connection.close()
            raise Unavailable(f"the Docker daemon does not open {path}: {status}")
        return connection


@contextlib.contextmanager
def _exchange(
    daemon: Daemon, lifeline: Lifeline, method: str, path: str, *, silent: bool = False
) -> Iterator[HTTPResponse]:
    connection = _Connection(daemon.connect(lifeline))
    if silent:
        connection.sock.settimeout(None)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        _check(answer)
        yield answer
    except (OSError, HTTPException) as error:
        raise Unavailable(f"the Docker daemon at {daemon} went away: {error!r}") from error
    finally:
        connection.close()


def _check(answer: HTTPResponse) -> None:
    """Raises Unavailable for a trouble of the daemon's, TaskFailedInternally for a request that it does not take."""
    if answer.status < HTTPStatus.BAD_REQUEST:
        return
    text = _message(answer.read(MAX_ERROR)) or answer.reason
    if (
        answer.status < HTTPStatus.INTERNAL_SERVER_ERROR or "invalid reference format" in text
    ):  # it says 500 for a bad tag
        raise TaskFailedInternally(f"the Docker daemon refuses: {text}")
    raise Unavailable(f"the Docker daemon has failed: {text}")


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace").strip()


def _newest(answer: HTTPResponse) -> tuple[int, int]:
    try:
        major, minor = json.loads(answer.read(MAX_HEAD))["ApiVersion"].split(".")
        return int(major), int(minor)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable("the Docker daemon does not say which API it speaks") from error


def _read_head(connection: socket.socket) -> bytes:
    """The head of an answer, byte by byte: what follows belongs to the protocol that comes next."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte or len(head) > MAX_HEAD:
            raise ConnectionError("it closed the connection instead of an answer")
        head += byte
    return bytes(head)
