"""Who a request is from, and what it may do: Hawk, and the certificates of temporary credentials.

The time of a request is compared with real time, since the client has no other; the end of a certificate with the
server's clock. Not checked, since the facts say nothing of it: whether a nonce is used twice.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import mohawk
from mohawk.exc import HawkFail

from taskcluster.client import createTemporaryCredentials
from tests.support.taskcluster.clock import ServerClock

GRACE = timedelta(minutes=5)
"""For which credentials are taken after their end."""


@attrs.frozen
class Denied(Exception):
    """The request is refused."""

    status: int
    message: str


@attrs.frozen
class Caller:
    """Who a request is from."""

    client_id: str
    scopes: tuple[str, ...]

    def need(self, *scopes: str) -> None:
        """Raises Denied unless it has one of them."""
        if not any(satisfies(self.scopes, scope) for scope in scopes):
            raise Denied(403, f"Client ID {self.client_id} does not have sufficient scopes: {scopes[0]}")


ANONYMOUS = Caller(
    "anonymous", ("queue:status:*", "auth:expand-scopes", "index:find-task:public.*", "queue:get-artifact:public/*")
)


def satisfies(scopes: Sequence[str], wanted: str) -> bool:
    return any(wanted.startswith(scope[:-1]) if scope.endswith("*") else wanted == scope for scope in scopes)


@attrs.frozen
class Clients:
    """The clients that the auth service knows, and the credentials that the queue issues for claims."""

    clock: ServerClock
    tokens: dict[str, tuple[str, tuple[str, ...]]] = attrs.field(factory=dict)
    """Access token and scopes by client id."""

    def issue(self, name: str, scopes: Sequence[str], until: datetime) -> dict[str, str]:
        """Temporary credentials, signed by the queue's own."""
        token, _ = self.tokens["queue"]
        made = createTemporaryCredentials("queue", token, self.clock.now(), until, list(scopes), name)
        return {key: value.decode() if isinstance(value, bytes) else str(value) for key, value in made.items()}

    def caller(self, header: str, method: str, url: str, body: bytes, content_type: str) -> Caller:
        """Raises Denied."""
        if not header:
            return ANONYMOUS
        checked: dict[str, Any] = {}

        def key_of(client_id: str) -> dict[str, str]:
            checked["ext"] = json.loads(base64.b64decode(_ext(header) + "==", altchars=b"-_"))
            token, checked["scopes"] = self._token(client_id, checked["ext"].get("certificate"))
            checked["id"] = client_id
            return {"id": client_id, "key": token, "algorithm": "sha256"}

        has_hash = 'hash="' in header
        try:
            mohawk.Receiver(
                key_of, header, url, method,
                content=body if has_hash else mohawk.base.EmptyValue,
                content_type=content_type if has_hash else mohawk.base.EmptyValue,
                accept_untrusted_content=not has_hash,
            )  # fmt: skip
        except HawkFail as error:
            raise Denied(401, f"Authentication Error: {type(error).__name__}") from None
        return Caller(checked["id"], _limited(checked["scopes"], checked["ext"].get("authorizedScopes")))

    def _token(self, client_id: str, certificate: Mapping[str, Any] | None) -> tuple[str, tuple[str, ...]]:
        if certificate is None:
            if client_id not in self.tokens:
                raise Denied(401, f"no such client: {client_id}")
            return self.tokens[client_id]
        issuer_token, _ = self.tokens[certificate["issuer"]]
        expiry = datetime.fromtimestamp(certificate["expiry"] / 1000, UTC)
        if self.clock.now() > expiry + GRACE:
            raise Denied(401, "ext.certificate.expiry < now")
        if not hmac.compare_digest(certificate["signature"], _signature(client_id, certificate, issuer_token)):
            raise Denied(401, "ext.certificate.signature is not valid")
        digest = hmac.new(issuer_token.encode(), certificate["seed"].encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("="), tuple(certificate["scopes"])


def _signature(client_id: str, certificate: Mapping[str, Any], token: str) -> str:
    lines = [
        f"version:{certificate['version']}", f"clientId:{client_id}", f"issuer:{certificate['issuer']}",
        f"seed:{certificate['seed']}", f"start:{certificate['start']}", f"expiry:{certificate['expiry']}",
        "scopes:", *certificate["scopes"],
    ]  # fmt: skip
    return base64.b64encode(hmac.new(token.encode(), "\n".join(lines).encode(), hashlib.sha256).digest()).decode()


def _ext(header: str) -> str:
    _, _, rest = header.partition('ext="')
    return rest.partition('"')[0]


def _limited(scopes: Sequence[str], authorized: Sequence[str] | None) -> tuple[str, ...]:
    """Authorized scopes must be some that the client has."""
    if authorized is None:
        return tuple(scopes)
    for scope in authorized:
        if not satisfies(scopes, scope):
            raise Denied(401, f"ext.authorizedScopes oversteps your scopes: {scope}")
    return tuple(authorized)
