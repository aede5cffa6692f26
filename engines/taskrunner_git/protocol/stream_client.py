"""Git over one stream: its own protocol, ssh, or the git program for a path on this machine."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Callable
from typing import IO

from dulwich.client import TraditionalGitClient
from dulwich.protocol import TCP_GIT_PORT, Protocol

from taskrunner.connections import Connections
from taskrunner_git.failures import ProgramFailed
from taskrunner_git.protocol.packets import raise_error_packets
from taskrunner_git.protocol.timeouts import CONNECT_TIMEOUT, READ_TIMEOUT
from taskrunner_git.remote import Remote

_MAX_STDERR = 4096
"""Bytes of a program's standard error that are read."""


class StreamClient(TraditionalGitClient):
    """Git's protocol over one socket: to a server, or to a program on this machine that has the other end as its
    standard input and output."""

    def __init__(self, remote: Remote, connections: Connections) -> None:
        super().__init__()
        self._remote, self._connections = remote, connections
        self._open: list[Protocol] = []
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`

    def _connect(
        self,
        cmd: bytes,
        path: str | bytes,  # noqa: ARG002  dulwich's signature
        protocol_version: int | None = None,  # noqa: ARG002
    ) -> tuple[Protocol, Callable[[], bool], IO[bytes] | None]:
        self.protocol_version = 2
        connect = {"git": self._server, "ssh": self._ssh, "file": self._local}[self._remote.scheme]
        connection = connect()
        connection.settimeout(READ_TIMEOUT)
        protocol = _protocol(connection)
        self._open.append(protocol)
        if self._remote.scheme == "git":
            protocol.send_cmd(
                b"git-" + cmd, self._remote.path.encode(), b"host=%s\0\0version=2\0" % self._remote.netloc.encode()
            )
        return protocol, lambda: False, None

    def stderr(self) -> str:
        """Ends the program, if there is one, and returns its standard error. `close` must follow."""
        for protocol in self._open:
            protocol.close()
        self._connections.close()
        self._errors.seek(0)
        return self._errors.read(_MAX_STDERR).decode("utf-8", "replace")

    def close(self) -> None:
        self.stderr()
        self._errors.close()

    def _server(self) -> socket.socket:
        address = self._remote.host, self._remote.port or TCP_GIT_PORT
        return self._connections.hold(socket.create_connection(address, CONNECT_TIMEOUT))

    def _ssh(self) -> socket.socket:
        """The system's ssh in batch mode: no user is there to answer a question."""
        remote = self._remote
        options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_TIMEOUT:.0f}", "-o", "SendEnv=GIT_PROTOCOL"]
        port = ["-p", str(remote.port)] if remote.port else []
        login = f"{remote.user}@{remote.host}" if remote.user else remote.host
        path = remote.path.removeprefix("/") if remote.path.startswith("/~") else remote.path
        return self._program("ssh", *options, *port, login, f"git-upload-pack {_shell_quoted(path)}")

    def _local(self) -> socket.socket:
        return self._program("git", "upload-pack", self._remote.path)

    def _program(self, *command: str) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                program = subprocess.Popen(
                    command,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=self._errors,
                    env=os.environ | {"GIT_PROTOCOL": "version=2", "LC_ALL": "C"},
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise ProgramFailed(f"{command[0]} cannot be started on this machine: {error.strerror}") from None
        self._connections.hold_program(program)
        return self._connections.hold(ours)


def _shell_quoted(path: str) -> str:
    """Always in single quotes: some servers parse the command themselves, and accept git's own form only."""
    return shlex.quote(path) if "'" in path else f"'{path}'"


def _protocol(connection: socket.socket) -> Protocol:
    reader = connection.makefile("rb")

    def write(data: bytes) -> int:
        with contextlib.suppress(ConnectionError):  # a server that is gone has sent a reason, which is read next
            connection.sendall(data)
        return len(data)

    def close() -> None:
        reader.close()
        connection.close()

    return Protocol(raise_error_packets(reader.read), write, close)
