"""The operator's own agent, by its socket. A build may list its keys and sign with them, and nothing else."""

from __future__ import annotations

import socket
from functools import partial

from taskrunner.errors import Unavailable
from taskrunner_docker.ssh.messages import (
    REFUSED,
    REQUEST_IDENTITIES,
    SIGN_REQUEST,
    Agent,
    AgentProtocolError,
    take_requests,
    with_length,
)

_ANSWER_TIMEOUT = 5.0
"""Seconds for an answer. A key that waits for a person's touch is none for a build."""
_READ_SIZE = 1 << 16
_ALLOWED = frozenset({REQUEST_IDENTITIES, SIGN_REQUEST})
"""An agent can also add, remove and lock keys: not for a task."""


def socket_agent(path: str) -> Agent:
    """The agent that listens at this path. Raises, when it is asked: Unavailable."""
    return partial(_ask, path)


def _ask(path: str, request: bytes) -> bytes:
    """On a connection for each request, so that none is left open."""
    if request[0] not in _ALLOWED:
        return REFUSED
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER_TIMEOUT)
            connection.connect(path)
            connection.sendall(with_length(request))
            return _read(connection)
    except (OSError, AgentProtocolError) as error:
        raise Unavailable(f"the SSH agent of this worker does not answer ([docker] ssh_agent): {error}") from error


def _read(connection: socket.socket) -> bytes:
    received = bytearray()
    while data := connection.recv(_READ_SIZE):
        received += data
        for answer in take_requests(received):
            return answer
    raise ConnectionError("it closed the connection")
