"""Ports for servers that a test starts later, or more than once."""

from __future__ import annotations

import secrets
import socket

LOWEST, HIGHEST = 10_000, 32_000
"""Below the ports that the kernel gives to who asks for any: no other server or connection gets one of these while a
test has not begun to listen yet, or restarts its server."""


def free_port() -> int:
    """A free TCP port of 127.0.0.1."""
    while True:
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
