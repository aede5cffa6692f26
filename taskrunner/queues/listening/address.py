"""Where a port listens: `agent://0.0.0.0:8089`."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

import attrs

from taskrunner.errors import ConfigError

LOOPBACK = "127.0.0.1"


@attrs.frozen
class Address:
    """A host, by name or number, and a port; port 0 is any free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only processes of this machine can connect. A name other than `localhost` may lead anywhere."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listening_address(url: str, default_port: int) -> Address:
    """The address in the URL of a queue; without a host, that of this machine alone. The query is the caller's.

    Raises: ConfigError, which does not repeat the URL: it may hold a password.
    """
    parts = _split(url)
    example = f"write {parts.scheme}://{LOOPBACK}:{default_port}, or 0.0.0.0 to be reached from other machines"
    if "@" in parts.netloc:
        raise ConfigError(f"the URL of a port that listens has no user or password (use `listen.tokens`; {example})")
    if parts.path not in {"", "/"} or parts.fragment:
        raise ConfigError(f"the URL of a port that listens has no path ({example})")
    try:
        port = parts.port
    except ValueError:
        raise ConfigError(f"the URL has no port between 0 and 65535 ({example})") from None
    host = parts.hostname or LOOPBACK
    if host != host.strip() or "*" in host:
        raise ConfigError(f"the URL has no host to listen at ({example})")
    return Address(host, default_port if port is None else port)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise ConfigError("the URL has a host in brackets that is no IPv6 address (write it as in [::1]:80)") from None
