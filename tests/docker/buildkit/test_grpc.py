"""The server on a session's connection, with h2 as the peer: flow control, hostile peers, cancelled calls."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import attrs
import h2.connection
import h2.events
import pytest
from h2.settings import SettingCodes

from taskrunner_docker.buildkit.grpc import NOT_FOUND, READ_AHEAD, GrpcError, GrpcServer, Unary, frame
from taskrunner_docker.buildkit.protobuf import encode_field
from taskrunner_docker.buildkit.session_services import CREDENTIALS, GET_SECRET, HEALTH, small_services

LARGE = b"s" * 300_000
PIECE = 10_000


@attrs.define
class Answer:
    data: bytearray = attrs.field(factory=bytearray)
    headers: dict[bytes, bytes] = attrs.field(factory=dict)
    ended: bool = False


class Endless:
    """A call whose answer does not end: pieces that each consist of one byte, repeated."""

    finished = False

    def __init__(self) -> None:
        self.made = 0
        self.is_ahead = threading.Event()

    def receive(self, message: memoryview) -> None: ...

    def close(self) -> None: ...

    def pull(self) -> bytes:
        piece = bytes([self.made // PIECE % 256]) * PIECE
        self.made += PIECE
        if self.made > READ_AHEAD:
            self.is_ahead.set()
        return piece


class HttpPeer:
    """An HTTP/2 client like the daemon, with the protocol's default windows, which are small."""

    def __init__(self) -> None:
        self.socket, there = socket.socketpair()
        self.socket.settimeout(60)
        self._there = there
        self.error: Exception | None = None
        hub = {"https://index.docker.io/v1/": ("hub", "pw"), "r.example:5000": ("me", "pw")}
        methods = small_services({"large": LARGE, "called": lambda: b"value"}, hub.get)
        methods["/bad"] = lambda _headers: Unary(self._refuse)
        self.endless = Endless()
        methods["/endless"] = lambda _headers: self.endless
        self._thread = threading.Thread(target=self._serve, args=(GrpcServer(there, methods),))
        self._thread.start()
        self.h2 = h2.connection.H2Connection()
        self.h2.initiate_connection()
        self.answers: dict[int, Answer] = {}

    @staticmethod
    def _refuse(_question: bytes) -> bytes:
        raise GrpcError(NOT_FOUND, "nothing\nhere: ü")

    def _serve(self, server: GrpcServer) -> None:
        try:
            server.serve()
        except Exception as error:  # noqa: BLE001  the test looks at it
            self.error = error
        finally:
            self._there.close()

    def ask(self, path: str, message: bytes) -> int:
        number = self.h2.get_next_available_stream_id()
        self.answers[number] = Answer()
        self.h2.send_headers(number, [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "d")])
        self.h2.send_data(number, frame(message), end_stream=True)
        return number

    def answer(self, number: int) -> Answer:
        self.flush()
        while not self.answers[number].ended:
            assert self.turn(), self.error
        return self.answers[number]

    def turn(self) -> bool:
        data = self.socket.recv(1 << 16)
        for event in self.h2.receive_data(data):
            match event:
                case h2.events.DataReceived():
                    self.answers[event.stream_id].data += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                    self.answers[event.stream_id].headers.update(event.headers)
                case h2.events.StreamEnded():
                    self.answers[event.stream_id].ended = True
        self.flush()
        return bool(data)

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def end(self) -> Exception | None:
        """Closes the connection, and returns the server's error, if there is one."""
        self.socket.close()
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.error

    def failure(self) -> Exception | None:
        """Waits until the server has ended, and returns its error."""
        self._thread.join(60)
        return self.end()


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    peer = HttpPeer()
    yield peer
    peer.end()


def test_health_is_answered(peer: HttpPeer) -> None:
    answer = peer.answer(peer.ask(HEALTH, b""))
    assert bytes(answer.data) == frame(encode_field(1, 1))
    assert answer.headers[b"grpc-status"] == b"0"
    assert peer.end() is None


def test_large_answer_waits_for_the_window(peer: HttpPeer) -> None:
    number = peer.ask(GET_SECRET, encode_field(1, "large"))
    assert bytes(peer.answer(number).data) == frame(encode_field(1, LARGE))


def test_another_call_is_answered_while_one_waits_for_its_window(peer: HttpPeer) -> None:
    peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    large, small = peer.ask(GET_SECRET, encode_field(1, "large")), peer.ask(HEALTH, b"")
    assert peer.answer(small).ended
    assert not peer.answers[large].ended


def test_data_is_made_while_the_window_is_closed(peer: HttpPeer) -> None:
    number = peer.ask("/endless", b"")
    peer.flush()
    assert peer.endless.is_ahead.wait(60)
    received = peer.answers[number].data
    while len(received) < 3 * READ_AHEAD:
        assert peer.turn(), peer.error
        assert peer.endless.made <= len(received) + READ_AHEAD + 500_000
    for place in range(0, len(received), PIECE):
        assert set(received[place : place + PIECE]) == {place // PIECE % 256}


def test_call_that_is_cancelled_is_removed(peer: HttpPeer) -> None:
    for _ in range(3):
        number = peer.ask(GET_SECRET, encode_field(1, "large"))
        peer.h2.reset_stream(number)
    assert peer.answer(peer.ask(HEALTH, b"")).ended
    assert peer.end() is None


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("registry-1.docker.io", encode_field(1, "hub") + encode_field(2, "pw")),
        ("docker.io", encode_field(1, "hub") + encode_field(2, "pw")),
        ("r.example:5000", encode_field(1, "me") + encode_field(2, "pw")),
        ("other.example", b""),
    ],
)
def test_credentials_by_host(peer: HttpPeer, host: str, answer: bytes) -> None:
    assert bytes(peer.answer(peer.ask(CREDENTIALS, encode_field(1, host))).data) == frame(answer)


def test_refusals_are_sent_in_trailers(peer: HttpPeer) -> None:
    assert peer.answer(peer.ask("/no/such", b"")).headers[b"grpc-status"] == b"12"
    assert peer.answer(peer.ask(GET_SECRET, encode_field(1, "none"))).headers[b"grpc-status"] == b"5"
    assert peer.answer(peer.ask("/bad", b"")).headers[b"grpc-message"] == b"nothing%0Ahere%3A %C3%BC"
    assert bytes(peer.answer(peer.ask(GET_SECRET, encode_field(1, "called"))).data) == frame(encode_field(1, b"value"))


def test_message_of_a_huge_length_ends_the_connection(peer: HttpPeer) -> None:
    number = peer.ask(HEALTH, b"")
    other = peer.h2.get_next_available_stream_id()
    peer.h2.send_headers(other, [(":method", "POST"), (":path", HEALTH), (":scheme", "http"), (":authority", "d")])
    peer.h2.send_data(other, struct.pack(">BI", 0, 1 << 31))
    assert peer.answers[number] is not None
    peer.flush()
    assert "too large" in str(peer.failure())


def test_garbage_ends_the_connection(peer: HttpPeer) -> None:
    peer.socket.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
    assert "rules of HTTP/2" in str(peer.failure())
