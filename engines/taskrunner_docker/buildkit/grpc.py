"""A gRPC server on one connection: HTTP/2 by h2, and the framing of messages on top of it.

BuildKit reverses the roles: the daemon is the client on a connection that the worker has opened. Framing:
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import select
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol
from urllib.parse import quote

import attrs
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from taskrunner_docker.buildkit.joined_frames import JoinedFrames

INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED = 3, 5, 12
MAX_MESSAGE = 1 << 22  # bytes of a peer's message: gRPC's own default
MAX_HEADERS = 1 << 20  # bytes of a call's headers: a long `.dockerignore` comes in them
READ_SIZE = 1 << 18
READ_AHEAD = 1 << 20  # bytes of a call that are made while the peer's window is closed
ROUND = 1 << 18  # bytes that one call sends before the other calls and the peer's messages are served
WINDOW = 1 << 24  # bytes that a peer may send without a pause: enough to request 20,000 files
SILENCE = 180.0  # seconds; a daemon that works checks the health of a session at least every 30
_PREFIX = struct.Struct(">BI")
_HEADERS = [(":status", "200"), ("content-type", "application/grpc")]

Headers = Sequence[tuple[bytes, bytes]]


class GrpcError(Exception):
    """A call fails, and code and message are sent to the peer. The text must hold no secret."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class GrpcCall(Protocol):
    """One call that runs. An exception other than GrpcError ends the whole connection."""

    def receive(self, message: memoryview) -> None:
        """Handles one complete message of the peer. Its memory is valid during the call only."""

    def close(self) -> None:
        """The peer has sent its last message."""

    def pull(self) -> bytes | bytearray:
        """The next bytes to send, framed; empty while there are none."""

    @property
    def finished(self) -> bool:
        """Whether `pull` has returned the last bytes."""


def frame(message: bytes) -> bytes:
    """A message with its frame."""
    return frame_head(len(message)) + message


def frame_head(size: int) -> bytes:
    """The head of a frame with that many bytes."""
    return _PREFIX.pack(0, size)


@attrs.define
class Unary:
    """A call with one question and one answer."""

    _answer: Callable[[bytes], bytes]
    _question: bytes = b""
    _reply: bytes = b""
    finished: bool = False

    def receive(self, message: memoryview) -> None:
        self._question = bytes(message)

    def close(self) -> None:
        self._reply = frame(self._answer(self._question))

    def pull(self) -> bytes:
        reply, self._reply = self._reply, b""
        self.finished = self.finished or bool(reply)
        return reply


Method = Callable[[Headers], GrpcCall]


@attrs.define
class _GrpcStream:
    call: GrpcCall
    received: bytearray = attrs.field(factory=bytearray)
    pending: bytes | bytearray = b""
    at: int = 0
    """Bytes of `pending` that are sent."""
    ahead: deque[bytes | bytearray] = attrs.field(factory=deque)
    """What follows `pending`: made while the peer's window was closed."""

    def take(self, data: bytes) -> None:
        self.received += data
        view, at = memoryview(self.received), 0
        while len(view) - at >= _PREFIX.size:
            compressed, size = _PREFIX.unpack_from(view, at)
            if compressed or size > MAX_MESSAGE:
                raise ConnectionError("the peer sent a message that is compressed or too large")
            if len(view) - at - _PREFIX.size < size:
                break
            self.call.receive(view[at + _PREFIX.size : at + _PREFIX.size + size])
            at += _PREFIX.size + size
        view.release()
        del self.received[:at]

    def close(self) -> None:
        self.call.close()

    def refill(self) -> bool:
        """Whether there are bytes to send."""
        if self.at == len(self.pending):
            self.pending, self.at = self.ahead.popleft() if self.ahead else self.call.pull(), 0
        return self.at < len(self.pending)

    def read_ahead(self) -> bool:
        """Makes some of what is sent when the peer's window opens. Returns whether there was room and more to send."""
        blocked = self.at < len(self.pending)
        if not blocked or sum(map(len, self.ahead)) >= READ_AHEAD:
            return False
        data = self.call.pull()
        if data:
            self.ahead.append(data)
        return bool(data)


class GrpcServer:
    """Serves one connection until it ends. Used from one thread."""

    def __init__(self, connection: socket.socket, methods: Mapping[str, Method]) -> None:
        self._socket, self._methods = connection, methods
        self._socket.settimeout(SILENCE)
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._streams: dict[int, _GrpcStream] = {}
        self._frames = JoinedFrames()
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADERS,
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100,
            },
        )
        self._h2.decoder.max_header_list_size = MAX_HEADERS

    def serve(self) -> None:
        """Answers calls until the peer closes the connection.

        Raises: OSError (the connection broke, or the peer does not speak HTTP/2), and what a call raises.
        """
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WINDOW)
        try:
            while self._turn():
                pass
        except h2.exceptions.H2Error as error:
            raise ConnectionError(f"the daemon breaks the rules of HTTP/2: {type(error).__name__}") from error

    def _turn(self) -> bool:
        """Sends as much as the windows allow, then handles what has come. Waits only when nothing can be sent."""
        more = False
        for number in tuple(self._streams):
            more |= self._pump(number)
        self._flush()
        if (more or self._read_ahead()) and not self._poll.poll(0):
            return True
        if not self._poll.poll(SILENCE * 1000):
            raise TimeoutError(f"the daemon was silent for {SILENCE:.0f} seconds")
        data = self._socket.recv(READ_SIZE)
        if data:
            self._handle(self._h2.receive_data(self._frames.feed(data)))
        return bool(data)

    def _read_ahead(self) -> bool:
        return any(stream.read_ahead() for stream in self._streams.values())

    def _handle(self, events: Sequence[h2.events.Event]) -> None:
        """Handles the events of one read. h2 has ended a call that was cancelled in the same read before its begin is
        handled here: such a call is passed over."""
        cancelled = {event.stream_id for event in events if isinstance(event, h2.events.StreamReset)}
        for number in cancelled:
            self._streams.pop(number, None)
        consumed: dict[int, int] = {}
        for event in events:
            match event:
                case h2.events.DataReceived(stream_id=int(number), flow_controlled_length=int(size), data=bytes(data)):
                    consumed[number] = consumed.get(number, 0) + size
                    self._guarded(number, partial(_GrpcStream.take, data=data))
                case h2.events.RequestReceived(stream_id=int(number)) if number not in cancelled:
                    self._begin(number, event.headers)
                case h2.events.StreamEnded(stream_id=int(number)):
                    self._guarded(number, _GrpcStream.close)
                case h2.events.ConnectionTerminated():
                    raise ConnectionAbortedError("the daemon ended the session")
        for number, size in consumed.items():
            self._h2.acknowledge_received_data(size, number)

    def _begin(self, number: int, headers: Headers) -> None:
        path = dict(headers).get(b":path", b"").decode("ascii", "replace")
        try:
            self._streams[number] = _GrpcStream(self._method(path)(headers))
            self._h2.send_headers(number, _HEADERS)
        except GrpcError as error:
            self._h2.send_headers(number, [*_HEADERS, *_trailers(error.code, error.message)], end_stream=True)

    def _method(self, path: str) -> Method:
        if path not in self._methods:
            raise GrpcError(UNIMPLEMENTED, "unknown method")
        return self._methods[path]

    def _guarded(self, number: int, act: Callable[[_GrpcStream], None]) -> None:
        """Runs one action of a call that was not cancelled, and reports its failure to the peer."""
        if stream := self._streams.get(number):
            try:
                act(stream)
            except GrpcError as error:
                self._end(number, error.code, error.message)

    def _pump(self, number: int) -> bool:
        """Sends for one call as much as the peer's window and this round allow. Returns whether more could be sent."""
        stream, left = self._streams[number], ROUND
        while left > 0 and stream.refill():
            size = min(len(stream.pending) - stream.at, self._h2.local_flow_control_window(number), self._frame_size)
            if size <= 0:
                return False
            self._h2.send_data(number, memoryview(stream.pending)[stream.at : stream.at + size])
            stream.at += size
            left -= size
        if left > 0 and stream.call.finished:
            self._end(number, 0)
        return left <= 0

    @property
    def _frame_size(self) -> int:
        return self._h2.max_outbound_frame_size

    def _end(self, number: int, code: int, message: str = "") -> None:
        del self._streams[number]
        self._h2.send_headers(number, _trailers(code, message), end_stream=True)

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._socket.sendall(data)


def _trailers(code: int, message: str = "") -> list[tuple[str, str]]:
    trailers = [("grpc-status", str(code))]
    return [*trailers, ("grpc-message", quote(message, safe=" "))] if message else trailers
