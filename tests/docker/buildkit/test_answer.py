"""Reading the daemon's answer, valid and invalid."""

from __future__ import annotations

import base64
import json
import socket
import threading

import pytest

from taskrunner.errors import RunLost, TaskFailedInternally, Unavailable
from taskrunner_docker.api.exchange import Exchange
from taskrunner_docker.buildkit.answer import MAX_LINE, BuildFailed, ImageWritten, Message, Output, messages
from taskrunner_docker.buildkit.diagnosis import diagnose
from taskrunner_docker.buildkit.protobuf import encode_field
from taskrunner_docker.buildkit.trace import Trace, Vertex


def read(body: bytes) -> list[Message]:
    """The messages of an answer with this body, read from a socket."""
    here, there = socket.socketpair()
    with here, there:
        sender = threading.Thread(target=send, args=(there, body))
        sender.start()
        try:
            with Exchange.begin(here, "POST", "/build") as answer:
                return list(messages(answer))
        finally:
            there.close()
            sender.join(60)


def send(there: socket.socket, body: bytes) -> None:
    try:
        there.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        there.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def line(document: object) -> bytes:
    return json.dumps(document).encode() + b"\r\n"


def test_messages_of_a_build() -> None:
    trace = base64.b64encode(encode_field(1, encode_field(1, "sha256:1"))).decode()
    body = (
        line({"id": "moby.buildkit.trace", "aux": trace})
        + b"\n"
        + line({"id": "moby.image.id", "aux": {"ID": "sha256:2"}})
        + line({"stream": "Successfully tagged x\n"})
        + line({"id": "of a newer daemon", "aux": {}})
        + line({"error": "short", "errorDetail": {"message": "long"}}).strip()
    )
    assert read(body) == [
        Trace(vertexes=(Vertex("sha256:1"),)),
        ImageWritten("sha256:2"),
        Output("Successfully tagged x\n"),
        BuildFailed("long"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>\n",
        b"[]\n",
        b"\xff\xfe\n",
        b'{"id":"moby.buildkit.trace","aux":"***"}\n',
        line({"id": "moby.buildkit.trace", "aux": base64.b64encode(b"\x0a\xff").decode()}),
        b"[" * 100_000 + b"\n",
        b"x" * (MAX_LINE + (1 << 17)),
    ],
    ids=["html", "list", "bytes", "base64", "protobuf", "nesting", "endless"],
)
def test_an_invalid_answer_is_named(body: bytes) -> None:
    with pytest.raises(TaskFailedInternally, match="cannot be read"):
        read(body)


@pytest.mark.parametrize(
    "text",
    [
        "failed to solve: rpc error: code = Unavailable desc = transport is closing",
        "no active session for 123: context deadline exceeded",
        "failed to solve with frontend dockerfile.v0: context canceled",
    ],
)
def test_a_build_that_ended_with_its_daemon_is_lost(text: str) -> None:
    with pytest.raises(RunLost):
        diagnose(text, None, 0)


def test_a_full_disk_of_the_daemon_is_no_outcome() -> None:
    with pytest.raises(Unavailable) as caught:
        diagnose("write /var/lib/docker/tmp/x: no space left on device", None, 0)
    assert not isinstance(caught.value, RunLost)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('failed to solve: process "/bin/sh -c exit 3" did not complete successfully: exit code: 3', "exit code: 3"),
        ('failed to compute cache key: failed to calculate checksum of ref a::b: "/x": not found', "/x is not in the"),
    ],
)
def test_texts_of_newer_daemons(text: str, error: str) -> None:
    assert diagnose(text, None, 0).error.startswith(error)
