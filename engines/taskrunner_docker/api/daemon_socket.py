"""Where Docker's socket is, and connecting to it from a thread."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from taskrunner.connections import Connections
from taskrunner.errors import ConfigError
from taskrunner_docker.api.docker_errors import unreachable

_USUAL = "/var/run/docker.sock"


def find_socket(host: str, environment: Mapping[str, str] = os.environ) -> str:
    """The path of Docker's socket: the configured one, else $DOCKER_HOST, else the first usual one that exists.

    Raises ConfigError for anything but a unix socket: caches are folders that the worker and Docker must both see.
    """
    named = host or environment.get("DOCKER_HOST", "")
    where = "`host` in [docker]" if host else "DOCKER_HOST"
    if named and not named.startswith(("unix://", "/")):
        raise ConfigError(f"{where} is {named!r}: only unix:///path works, since Docker must be on this machine")
    if named:
        return named.removeprefix("unix://")
    return next((path for path in _usual_sockets(environment) if Path(path).exists()), _USUAL)


def connect(path: str, connections: Connections, timeout: float) -> socket.socket:
    """Connects to the socket at `path`, and adds the connection to those of the call. Blocks for `timeout` seconds at
    most. Raises: Unavailable."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connections.hold(connection)
        connection.settimeout(timeout)
        connection.connect(path)
        connections.check()  # a connection that was not open yet is not ended by `interrupt`
    except OSError as error:
        connection.close()
        raise unreachable(path, error) from error
    return connection


def _usual_sockets(environment: Mapping[str, str]) -> list[str]:
    rootless = environment.get("XDG_RUNTIME_DIR")
    desktop = Path.home() / ".docker/run/docker.sock"
    return [_USUAL, *([f"{rootless}/docker.sock"] if rootless else []), str(desktop)]
