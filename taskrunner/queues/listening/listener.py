"""Listener: what a port is opened with, read and checked."""

from __future__ import annotations

import attrs

from taskrunner.interfaces.plugin import QueueContext
from taskrunner.queues.listening.address import Address, listening_address
from taskrunner.queues.listening.options import ListenOptions
from taskrunner.queues.listening.tls import TlsIdentity, load_tls
from taskrunner.queues.listening.tokens import BearerTokens


@attrs.frozen
class Listener:
    """Where a port listens, who may connect, and its limits."""

    address: Address
    tls: TlsIdentity | None = None
    tokens: BearerTokens = attrs.field(factory=BearerTokens)
    max_message: int = ListenOptions().max_message
    max_connections: int = ListenOptions().max_connections
    idle_timeout: int = ListenOptions().idle_timeout

    @property
    def exposure(self) -> str:
        """What the operator should know about who gets in: a warning for the log, or empty."""
        authenticated = self.tokens.required or (self.tls is not None and self.tls.client_ca)
        if self.address.is_loopback or (authenticated and self.tls):
            return ""
        who = "whoever reads its traffic has the token" if authenticated else "whoever reaches it may run tasks here"
        return f"the port {self.address} can be reached from other machines, and {who}: set `listen` of this queue"


async def open_listener(url: str, options: ListenOptions, context: QueueContext, default_port: int) -> Listener:
    """Reads the files and secrets that the options name. `url` is that of the queue, or of another port that it has.

    Raises: ConfigError.
    """
    return Listener(
        listening_address(url, default_port),
        await load_tls(options),
        BearerTokens.reveal(options.tokens, context.reveal),
        options.max_message,
        options.max_connections,
        options.idle_timeout,
    )
