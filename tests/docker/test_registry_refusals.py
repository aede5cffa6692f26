"""What follows from the answers of a registry, in the texts in which Docker reports them."""

from __future__ import annotations

import pytest

from taskrunner.errors import Unavailable
from taskrunner_docker.buildkit.diagnosis import diagnose
from taskrunner_docker.buildkit.steps import BuildStep
from taskrunner_docker.registry.refusals import asks_registry, may_pass, registry_fault
from taskrunner_docker.registry.transfer import LayerRetries


@pytest.mark.parametrize(
    "text",
    [
        'error parsing HTTP 429 response body: unexpected end of JSON input: ""',
        "error parsing HTTP 429 response body: invalid character '<' looking for beginning of value: \"<html>\"",
        'error parsing HTTP 429 response body: no error details found in HTTP response body: "{\\"errors\\":[]}"',
        "received unexpected HTTP status: 429 Too Many Requests",
        "toomanyrequests: slow down",
        'error parsing HTTP 503 response body: invalid character "<"',
        "received unexpected HTTP status: 502 Bad Gateway",
        'Get "http://x/v2/": dial tcp 10.0.0.1:5000: connect: no route to host',
        "unexpected status code [manifests 1.0]: 429 Too Many Requests",
        "denied: Your authorization token has expired. Reauthenticate and try again.",
    ],
)
def test_a_status_decides_whether_trying_again_may_help(text: str) -> None:
    assert may_pass(text)


@pytest.mark.parametrize(
    "text",
    [
        "denied: requested access to the resource is denied",
        "manifest for x/app:1429 not found: manifest unknown",
        "login attempt to http://x/v2/ failed with status: 401 Unauthorized",
        'error parsing HTTP 404 response body: invalid character "p" after top-level value: "404 page not found"',
    ],
)
def test_what_does_not_pass_is_final(text: str) -> None:
    assert not may_pass(text)


def test_a_redirect_loop_and_garbage_are_called_by_their_names() -> None:
    assert "circle" in registry_fault('Get "http://x/v2/x/again": stopped after 10 redirects')
    garbage = ["error parsing HTTP 418 response body: invalid character '<'", 'malformed HTTP response "SSH-2.0"']
    assert all("no registry, or is broken" in registry_fault(text) for text in garbage)
    assert not registry_fault("denied: requested access to the resource is denied")


def test_each_attempt_of_docker_at_a_layer_is_told_once() -> None:
    retries = LayerRetries("push")
    statuses = [
        "Preparing",
        "Pushing",
        *(f"Retrying in {left} seconds" for left in (5, 4, 3, 2)),
        "Retrying in 1 second",
    ]
    told = [retries.update({"id": "0a1b", "status": status}) for status in (statuses * 2)]
    assert list(filter(None, told)) == [
        "push of layer 0a1b: attempt 1 failed; Docker tries again in 5 s",
        "push of layer 0a1b: attempt 2 failed; Docker tries again in 5 s",
    ]


REFUSED = 'failed to do request: Head "http://x:1/v2/a/manifests/b": dial tcp 10.0.0.1:1: connect: connection refused'


REMOTE_STEPS = [
    "[internal] load metadata for x:1/a:b",
    "[1/2] FROM x:1/a:b",
    "https://x.example/f",
    "resolve image config for x:1/docker/dockerfile:1",
    "docker-image://x:1/docker/dockerfile:1@sha256:0a1b",
]


@pytest.mark.parametrize("step", REMOTE_STEPS)
def test_a_server_that_does_not_answer_a_build_is_no_fault_of_the_build(step: str) -> None:
    assert asks_registry(step)
    with pytest.raises(Unavailable, match=r"connection refused.*; the registry may be down"):
        diagnose(REFUSED, BuildStep(1, step), 0)


def test_a_command_of_a_build_that_reaches_no_server_is_the_fault_of_the_build() -> None:
    assert diagnose(REFUSED, BuildStep(1, "[2/2] RUN make"), 0).error == REFUSED
    assert diagnose("exit code: 7", BuildStep(1, "[1/2] FROM x:1/a:b"), 0).exit_code == 7
