"""Bearer tokens (RFC 6750) of the clients of a port."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from typing import Self

import attrs

from taskrunner.errors import ConfigError
from taskrunner.model import Secret


@attrs.frozen
class BearerTokens:
    """The tokens of which a client sends one. Without any, every client gets in."""

    values: tuple[bytes, ...] = attrs.field(default=(), repr=False)

    @classmethod
    def reveal(cls, tokens: Iterable[Secret], reveal: Callable[[Secret], str]) -> Self:
        """Raises: ConfigError, MalformedPayload (as `reveal` of a PluginContext)."""
        values = tuple(reveal(token).encode() for token in tokens)
        for index, value in enumerate(values):
            if not value.strip():
                raise ConfigError(f"listen.tokens[{index}]: the secret is empty (give it a value, or remove it)")
        return cls(values)

    @property
    def required(self) -> bool:
        return bool(self.values)

    def admits(self, authorization: str | bytes | None) -> bool:
        """Whether a client with this `Authorization` header gets in. Takes as long for a wrong token as for a right
        one, whichever it is of several."""
        if not self.required:
            return True
        header = authorization.encode() if isinstance(authorization, str) else authorization or b""
        scheme, _, token = header.partition(b" ")
        matches = [hmac.compare_digest(token.strip(), value) for value in self.values]
        return scheme.lower() == b"bearer" and any(matches)
