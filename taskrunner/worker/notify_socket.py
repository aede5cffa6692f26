"""The socket on which a service manager is told about its service: the protocol of sd_notify(3).

A message is one datagram with a `NAME=value` in each line. systemd and podman give the socket's address in
`NOTIFY_SOCKET`. A library for it would be longer than this.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import closing

import attrs


@attrs.define
class NotifySocket:
    """Sends messages, none of which is waited for. One that cannot be sent is a warning, and the worker goes on."""

    address: str
    """A path; one that begins with `@` is in Linux's abstract name space, where that character is a zero byte."""
    warn: Callable[[str], None]
    _warned: bool = attrs.field(init=False, default=False)

    def send(self, *lines: str) -> None:
        """Sends one message. Returns at once."""
        try:
            self._send("\n".join(lines).encode())
        except OSError as error:
            self._fail(error)

    def _send(self, message: bytes) -> None:
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
            sender.setblocking(False)
            sender.sendto(message, address)

    def _fail(self, error: OSError) -> None:
        if not self._warned:  # one line: a heartbeat would repeat it for ever
            self._warned = True
            self.warn(f"the service manager cannot be told ({self.address}: {error.strerror or error})")


def notify_socket(variables: Mapping[str, str], warn: Callable[[str], None]) -> NotifySocket | None:
    """The socket of the service manager that started this process; None: it asked for no messages."""
    address = variables.get("NOTIFY_SOCKET", "")
    return NotifySocket(address, warn) if address[:1] in {"/", "@"} else None


def watchdog_limit(variables: Mapping[str, str]) -> float | None:
    """Seconds without a heartbeat after which the service manager restarts this process; None: it does not watch it.

    `WATCHDOG_PID` names the process that is meant: a child inherits both variables, and is not watched.
    """
    meant = variables.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    limit = variables.get("WATCHDOG_USEC", "")
    return int(limit) / 1e6 if meant and limit.isascii() and limit.isdecimal() and int(limit) else None
