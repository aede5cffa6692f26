"""The small services of a session: health, secrets, and the credentials for private base images."""

from __future__ import annotations

from collections.abc import Mapping

from taskrunner_docker.buildkit.grpc import NOT_FOUND, GrpcError, Method, Unary
from taskrunner_docker.buildkit.protobuf import as_text, encode_field, read_message
from taskrunner_docker.buildkit.request import Credentials, SecretValue

HEALTH = "/grpc.health.v1.Health/Check"
GET_SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"  # noqa: S105  the name of a method
CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"
"""Auth has newer methods. A daemon that does not find them falls back to this one."""
_SERVING = encode_field(1, 1)
DOCKER_HUB = "docker.io"
_HUB_NAMES = frozenset({DOCKER_HUB, "registry-1.docker.io", "index.docker.io"})
"""Docker Hub's names in a daemon."""
_HUB_KEYS = (DOCKER_HUB, "index.docker.io", "https://index.docker.io/v1/")
"""Its names in a configuration; the last is the key in that of the docker CLI."""


def small_services(secrets: Mapping[str, SecretValue], credentials: Credentials) -> dict[str, Method]:
    """Method path to the function that begins a call."""
    return {
        HEALTH: lambda _headers: Unary(lambda _question: _SERVING),
        GET_SECRET: lambda _headers: Unary(lambda question: _secret(question, secrets)),
        CREDENTIALS: lambda _headers: Unary(lambda question: _credentials(question, credentials)),
    }


def _secret(question: bytes, secrets: Mapping[str, SecretValue]) -> bytes:
    name = _text(question)
    if name not in secrets:
        raise GrpcError(NOT_FOUND, f"secret {name} not found")
    value = secrets[name]
    return encode_field(1, value() if callable(value) else value)


def _credentials(question: bytes, credentials: Credentials) -> bytes:
    """User and password; empty for an anonymous user."""
    host = _text(question)
    keys = _HUB_KEYS if host in _HUB_NAMES else (host,)
    for key in keys:
        if found := credentials(key):
            return encode_field(1, found[0]) + encode_field(2, found[1])
    return b""


def _text(question: bytes) -> str:
    """The first field of either question, the only one that is used."""
    values: list[str] = read_message(question, {1: ("text", as_text)}).get("text", [""])
    return values[-1]
