"""The addresses in the URL of the queue: `orchestrator://HOST:5051?port=6000`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, urlsplit

import attrs

from taskrunner.errors import ConfigError, Unavailable
from taskrunner.queues.listening import Address

ORCHESTRATOR_PORT = 5051
WORKER_PORT = 6000
LAST_PORT = 65535

VARIABLE = "ORCHESTRATOR_ADDR"
EXAMPLE = f"write orchestrator://HOST:{ORCHESTRATOR_PORT}?port={WORKER_PORT}"


@attrs.frozen
class OrchestratorTarget:
    """Where the orchestrator listens, and where this worker does."""

    orchestrator: Address
    host: str
    """Empty for the address by which this machine reaches the orchestrator."""
    port: int

    @property
    def listens_everywhere(self) -> bool:
        try:
            return ip_address(self.host).is_unspecified
        except ValueError:
            return False


def parse_target(url: str, environment: Mapping[str, str]) -> OrchestratorTarget:
    """A URL without a host leaves it to ORCHESTRATOR_ADDR. Raises: ConfigError, which does not repeat the URL."""
    parts = _split(url, "the URL of the queue")
    if "@" in parts.netloc or parts.path not in {"", "/"} or parts.fragment:
        raise ConfigError(f"the URL of an orchestrator has host, port and query only ({EXAMPLE})")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := query.keys() - {"host", "port"}:
        raise ConfigError(f"the URL of an orchestrator has no `{min(unknown)}` in its query ({EXAMPLE})")
    port = query.get("port", str(WORKER_PORT))
    if not (port.isascii() and port.isdigit() and int(port) <= LAST_PORT):
        raise ConfigError(f"`port` in the URL of the orchestrator is no port of this worker ({EXAMPLE})")
    return OrchestratorTarget(_address(parts) or _from_environment(environment), query.get("host", ""), int(port))


def _split(url: str, what: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ConfigError(f"{what} has no host and port ({EXAMPLE})") from None
    return parts


def _address(parts: SplitResult) -> Address | None:
    return Address(parts.hostname, parts.port or ORCHESTRATOR_PORT) if parts.hostname else None


def _from_environment(environment: Mapping[str, str]) -> Address:
    parts = _split(f"//{environment.get(VARIABLE, '').strip()}", VARIABLE)
    if "@" in parts.netloc or parts.path or parts.query or parts.fragment:
        raise ConfigError(f"{VARIABLE} is no HOST:PORT, such as build.example:{ORCHESTRATOR_PORT}")
    address = _address(parts)
    if address is None:
        raise ConfigError(f"the URL names no orchestrator ({EXAMPLE}, or set {VARIABLE} to HOST:{ORCHESTRATOR_PORT})")
    return address


async def local_ip(remote: Address) -> str:
    """The address of this machine that `remote` is reached from, of IPv4 where both have one. Nothing is sent.

    Raises: Unavailable (the name is not known, or no network leads there).
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(remote.host, remote.port, type=socket.SOCK_DGRAM)
        family, kind, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        with socket.socket(family, kind) as probe:
            probe.setblocking(False)
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise Unavailable(f"this machine has no way to the orchestrator at {remote}: {error.strerror}") from None
