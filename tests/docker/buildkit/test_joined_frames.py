"""h2 sees the same data of the same calls in fewer frames, wherever the network cuts the bytes."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrunner_docker.buildkit.joined_frames import MAX_PAYLOAD, PREFACE, JoinedFrames

_HEADERS = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "d")]
_SIZES = st.sampled_from([0, 1, 20, 5000, MAX_PAYLOAD - 1, MAX_PAYLOAD])
_FRAMES = st.lists(st.tuples(st.sampled_from([1, 3]), _SIZES, st.sampled_from([None, 0, 7])), max_size=12)


def _server() -> h2.connection.H2Connection:
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    server.initiate_connection()
    server.increment_flow_control_window(1 << 24)
    return server


def _client(server: h2.connection.H2Connection) -> h2.connection.H2Connection:
    """A client with two calls, whose windows are large."""
    client = h2.connection.H2Connection()
    client.initiate_connection()
    server.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 24})
    client.receive_data(server.data_to_send())
    for number in (1, 3):
        client.send_headers(number, _HEADERS)
    return client


def _by_call(events: list[h2.events.Event]) -> tuple[dict[int, bytes], int]:
    """The data of each call, and the bytes that count for flow control."""
    found, size = dict[int, bytes](), 0
    for event in events:
        if isinstance(event, h2.events.DataReceived):
            assert event.stream_id is not None
            assert event.data is not None
            found[event.stream_id] = found.get(event.stream_id, b"") + event.data
            size += event.flow_controlled_length or 0
    return found, size


@given(_FRAMES, st.lists(st.integers(1, 40_000), max_size=8))
def test_data_and_flow_control_are_the_same(frames: list[tuple[int, int, int | None]], cuts: list[int]) -> None:
    server = _server()
    client = _client(server)
    sent, window = {1: b"", 3: b""}, client.outbound_flow_control_window
    for place, (number, size, padding) in enumerate(frames):
        data = bytes([place]) * min(size, MAX_PAYLOAD - 10)
        client.send_data(number, data, pad_length=padding)
        sent[number] += data
        client.ping(bytes([place]) * 8) if place % 5 == 4 else None
    for number in sent:
        client.end_stream(number)
    spent = window - client.outbound_flow_control_window
    stream, joined, events = client.data_to_send(), JoinedFrames(), list[h2.events.Event]()
    for cut in [*cuts, len(stream)]:
        events += server.receive_data(joined.feed(stream[:cut]))
        stream = stream[cut:]
    found, size = _by_call(events)
    assert {number: found.get(number, b"") for number in sent} == sent
    assert size == spent
    assert sum(isinstance(event, h2.events.StreamEnded) for event in events) == len(sent)
    assert sum(isinstance(event, h2.events.PingReceived) for event in events) == len(frames) // 5


def test_requests_that_follow_each_other_come_as_one() -> None:
    server = _server()
    client = _client(server)
    for _ in range(1000):
        client.send_data(1, b"twelve bytes")
    events = server.receive_data(JoinedFrames().feed(client.data_to_send()))
    assert sum(isinstance(event, h2.events.DataReceived) for event in events) == 1


def test_frame_that_is_too_large_reaches_h2_before_it_is_whole() -> None:
    server = _server()
    client = _client(server)
    joined = JoinedFrames()
    server.receive_data(joined.feed(client.data_to_send()))
    with pytest.raises(h2.exceptions.FrameTooLargeError):
        server.receive_data(
            joined.feed((MAX_PAYLOAD + 1).to_bytes(3, "big") + b"\0\0\0\0\0\1" + bytes(MAX_PAYLOAD + 1))
        )


@given(st.binary(max_size=200))
def test_nothing_is_lost_before_the_first_frame(data: bytes) -> None:
    assert JoinedFrames().feed(data)[:PREFACE] == data[:PREFACE]
