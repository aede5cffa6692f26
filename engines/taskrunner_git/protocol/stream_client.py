"""Git over one stream: its own protocol, ssh, or the git program for a path on this machine."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import IO

from dulwich.client import TraditionalGitClient
from dulwich.protocol import TCP_GIT_PORT, Protocol

from taskrunner.connections import Connections
from taskrunner_git.failures import ProgramFailed
from taskrunner_git.protocol.answers import Answers
from taskrunner_git.protocol.timeouts import CONNECT_TIMEOUT, READ_TIMEOUT
from taskrunner_git.remote import Remote

_INHERITED = ("PATH", "HOME", "LANG")
"""What a program gets of the worker's environment, which may have secrets in it, and variables that make git and ssh
start other programs. ssh has the agent too: a host over ssh is one that the operator has allowed."""
_MAX_STDERR = 4096
"""Bytes of a program's standard error that are kept; a server can send more over ssh, without an end."""
_STDERR_LIMIT = 5.0
"""Seconds until a program that was killed has closed its standard error. One that it has started may keep it open."""


class StreamClient(TraditionalGitClient):
    """Git's protocol over one socket: to a server, or to a program on this machine that has the other end as its
    standard input and output."""

    def __init__(self, remote: Remote, connections: Connections, answers: Answers) -> None:
        super().__init__()
        self._remote, self._connections, self._answers = remote, connections, answers
        self._open: list[Protocol] = []
        self._errors: list[_StderrReader] = []

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
        protocol = _protocol(connection, self._answers)
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
        return b"".join(errors.result() for errors in self._errors).decode("utf-8", "replace")

    def close(self) -> None:
        self.stderr()

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
        command = f"git-upload-pack {_shell_quoted(path)}"
        return self._program("ssh", *options, *port, login, command, inherited=(*_INHERITED, "SSH_AUTH_SOCK"))

    def _local(self) -> socket.socket:
        return self._program("git", "upload-pack", self._remote.path)

    def _program(self, *command: str, inherited: Sequence[str] = _INHERITED) -> socket.socket:
        own = {name: os.environ[name] for name in inherited if name in os.environ}
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                program = subprocess.Popen(
                    command,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.PIPE,
                    env=own | {"GIT_PROTOCOL": "version=2", "LC_ALL": "C"},
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise ProgramFailed(f"{command[0]} cannot be started on this machine: {error.strerror}") from None
        self._connections.hold_program(program)
        self._errors.append(_StderrReader(program))
        return self._connections.hold(ours)


class _StderrReader:
    """Keeps the begin of a program's standard error, and reads on, so that the program never waits."""

    def __init__(self, program: subprocess.Popen[bytes]) -> None:
        assert program.stderr is not None  # noqa: S101  it is a pipe
        self._pipe = program.stderr
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, name="stderr", daemon=True)
        self._thread.start()

    def result(self) -> bytes:
        """Called when the program has ended."""
        self._thread.join(_STDERR_LIMIT)
        return bytes(self._kept)

    def _read(self) -> None:
        with self._pipe as pipe:
            while data := os.read(pipe.fileno(), _MAX_STDERR):
                self._kept += data[: _MAX_STDERR - len(self._kept)]


def _shell_quoted(path: str) -> str:
    """Always in single quotes: some servers parse the command themselves, and accept git's own form only."""
    return shlex.quote(path) if "'" in path else f"'{path}'"


def _protocol(connection: socket.socket, answers: Answers) -> Protocol:
    reader = connection.makefile("rb")

    def write(data: bytes) -> int:
        with contextlib.suppress(ConnectionError):  # a server that is gone has sent a reason, which is read next
            connection.sendall(data)
        return len(data)

    def close() -> None:
        reader.close()
        connection.close()

    return Protocol(answers.checked(reader.read), write, close)
