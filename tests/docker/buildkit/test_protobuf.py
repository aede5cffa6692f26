"""The codec reads every protobuf message, and raises nothing but WireError for any other bytes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrunner_docker.buildkit.protobuf import (
    WireError,
    as_int,
    as_text,
    encode_field,
    encode_varint,
    fields,
    read_message,
)
from taskrunner_docker.buildkit.trace import Trace, Vertex, VertexLog, read_trace

NUMBERS = st.integers(1, 2**29 - 1)


@given(st.lists(st.tuples(NUMBERS, st.integers(0, 2**64 - 1) | st.binary())))
def test_what_was_encoded_is_decoded(message: list[tuple[int, int | bytes]]) -> None:
    encoded = b"".join(encode_field(number, value) for number, value in message)
    decoded = [(number, value if isinstance(value, int) else bytes(value)) for number, value in fields(encoded)]
    assert decoded == message


@given(st.integers(-(2**63), 2**63 - 1))
def test_negative_numbers_keep_their_sign(number: int) -> None:
    assert read_message(encode_field(1, number), {1: ("n", as_int)}) == {"n": [number]}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_survives(text: str) -> None:
    assert read_message(encode_field(1, text), {1: ("t", as_text)}) == {"t": [text]}


@given(st.binary())
def test_any_bytes_are_a_trace_or_a_wire_error(data: bytes) -> None:
    with contextlib.suppress(WireError):
        assert isinstance(read_trace(data), Trace)


@given(st.data())
def test_damaged_traces_are_a_trace_or_a_wire_error(data: st.DataObject) -> None:
    message = bytearray(encode_field(1, encode_field(1, "sha256:1") + encode_field(5, encode_field(1, 12)))) * 3
    place = data.draw(st.integers(0, len(message) - 1))
    message[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        assert isinstance(read_trace(bytes(message)), Trace)


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a",
        b"\x0a\x05abc",
        b"\x0a" + encode_varint(2**63),
        b"\x80" * 11,
        b"\x08" + b"\xff" * 10 + b"\x01",
        b"\x09abc",
        b"\x0b",
    ],
)
def test_broken_messages_are_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        list(fields(message))


def test_trace_is_read() -> None:
    time = encode_field(1, 100) + encode_field(2, 500_000_000)
    vertex = encode_field(1, "sha256:1") + encode_field(3, "[1/2] RUN x") + encode_field(4, 1) + encode_field(5, time)
    output = encode_field(1, "sha256:1") + encode_field(2, time) + encode_field(3, 2) + encode_field(4, b"\xff\n")
    unknown = encode_field(99, b"of a newer daemon")
    assert read_trace(encode_field(1, vertex + unknown) + encode_field(3, output) + unknown) == Trace(
        vertexes=(Vertex("sha256:1", "[1/2] RUN x", cached=True, started=100.5),),
        outputs=(VertexLog("sha256:1", 100.5, 2, b"\xff\n"),),
    )
