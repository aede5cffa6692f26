"""A path in a container as a tar stream, read as it comes. Blocking: for threads."""

from __future__ import annotations

import http.client
import socket
import tarfile
from http import HTTPStatus
from typing import Self

import attrs

from taskrunner.interfaces.results import READ_SIZE
from taskrunner_docker.api.client import CALL_TIMEOUT, Daemon


@attrs.define
class TarStream:
    """One stream, with a connection to Docker of its own: whoever stops in the middle closes it."""

    tar: tarfile.TarFile
    _connection: _UnixConnection

    @classmethod
    def open(cls, daemon: Daemon, container: str, path: str) -> Self:
        """Raises: FileNotFoundError, OSError, tarfile.TarError, http.client.HTTPException."""
        connection = _UnixConnection(daemon.socket)
        try:
            answer = connection.fetch(daemon.target(f"/containers/{container}/archive", {"path": path}))
            return cls(tarfile.open(fileobj=answer, mode="r|", bufsize=READ_SIZE), connection)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Hangs up. May be called again."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over Docker's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=CALL_TIMEOUT)
        self._path = path
        self._answer: http.client.HTTPResponse | None = None

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(CALL_TIMEOUT)
        self.sock.connect(self._path)

    def fetch(self, target: str) -> http.client.HTTPResponse:
        self.request("GET", target)
        self._answer = self.getresponse()
        if self._answer.status == HTTPStatus.NOT_FOUND:
            raise FileNotFoundError("it is not in the container")
        if self._answer.status != HTTPStatus.OK:
            raise OSError(f"Docker answers {self._answer.status}")
        return self._answer

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
        super().close()
