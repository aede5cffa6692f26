"""Refusals of registries, and the error that each becomes."""

from __future__ import annotations

from typing import Any, cast

import pytest

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner.model import Secret
from taskrunner_docker.options import EcrOptions, RegistryOptions
from taskrunner_docker.registry.logins import Registries

ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
KNOWN = {"known.example": RegistryOptions("ci", Secret(literal="x")), ECR: RegistryOptions(ecr=EcrOptions("eu-west-1"))}

TRANSIENT = [
    "Get https://known.example/v2/: dial tcp 127.0.0.1:5055: connect: connection refused",
    "Get https://known.example/v2/: dial tcp: lookup known.example: no such host",
    "Get https://known.example/v2/: net/http: TLS handshake timeout",
    "Get https://known.example/v2/: net/http: request canceled while waiting for connection",
    "Get https://known.example/v2/: EOF",
    "write tcp 127.0.0.1:1->127.0.0.1:2: write: connection reset by peer",
    "received unexpected HTTP status: 503 Service Unavailable",
    "login attempt to https://known.example/v2/ failed with status: 500 Internal Server Error",
    "toomanyrequests: You have reached your pull rate limit.",
    "denied: Your authorization token has expired. Reauthenticate and try again.",
]

LASTING = [
    ("known.example/app:1", "unauthorized: authentication required", "login-failed", "check the login in"),
    ("other.example/app:1", "no basic auth credentials", "login-failed", "has no login for it: add"),
    ("known.example/app:1", "denied: requested access to the resource is denied", "push-failed", "what it may do"),
    (
        f"{ECR}/team/app:1",
        "name unknown: The repository with name 'team/app' does not exist in the registry with id '123456789012'",
        "push-failed",
        "aws ecr create-repository --repository-name team/app",
    ),
    ("known.example/app:1", "name invalid: invalid repository name", "push-failed", "check that the name is right"),
]


def registries() -> Registries:
    nothing = cast("Any", None)
    return Registries(nothing, KNOWN, nothing, nothing)


@pytest.mark.parametrize("text", TRANSIENT)
def test_a_transient_refusal_is_unavailable(text: str) -> None:
    error = registries().explain("push", "known.example/app:1", text)
    assert isinstance(error, Unavailable)
    assert text in str(error)


@pytest.mark.parametrize(("name", "text", "reason", "advice"), LASTING)
def test_a_lasting_refusal_names_the_remedy(name: str, text: str, reason: str, advice: str) -> None:
    error = registries().explain("push", name, text)
    assert isinstance(error, TaskFailed)
    assert error.reason == reason
    assert str(error).startswith(f"push of {name} failed: {text}; ")
    assert advice in str(error)
