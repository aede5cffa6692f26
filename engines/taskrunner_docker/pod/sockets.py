"""The sockets of a network namespace, as the kernel lists them in `/proc/PID/net`.

Reading the list needs no privilege, and no program of the namespace notices it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs

_KINDS = ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "packet", "unix")
_LISTEN = "0A"
_REACHED_BY_LOOPBACK = frozenset(
    {
        "00000000",  # 0.0.0.0
        "0100007F",  # 127.0.0.1, in the byte order of x86-64 and arm64
        "0" * 32,  # ::, which takes IPv4 as well
        "0000000000000000FFFF00000100007F",  # ::ffff:127.0.0.1
    }
)
_ADDRESS, _STATE = 1, 3


@attrs.frozen
class Sockets:
    """Of the namespace of this process."""

    pid: int

    def left(self) -> list[str]:
        """The kinds of which there is one. Connections that wait for their end are listed as well: for a minute they
        keep their port from a server. Raises OSError."""
        return [kind for kind in _KINDS if any(self._lines(kind))]

    def has_listener(self, port: int) -> bool:
        """Whether a TCP connection to 127.0.0.1 would be accepted: the kernel does that by itself as soon as a program
        listens. So this is as good as a connection, and leaves no line in the log of a server. Raises OSError."""
        return any(self._listens(line, port) for kind in ("tcp", "tcp6") for line in self._lines(kind))

    def _lines(self, kind: str) -> Iterator[str]:
        """Without the heading. A kernel without IPv6 has fewer files."""
        path = Path(f"/proc/{self.pid}/net/{kind}")
        if kind == "tcp" or path.exists():
            yield from path.read_text().splitlines()[1:]

    def _listens(self, line: str, port: int) -> bool:
        fields = line.split()
        address, _, number = fields[_ADDRESS].partition(":")
        return fields[_STATE] == _LISTEN and address in _REACHED_BY_LOOPBACK and int(number, 16) == port
