"""The messages of an SSH agent: a length, a byte for the kind, and fields."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

Agent = Callable[[bytes], bytes]
"""One request to one answer. Called from a thread of the build, and answers within seconds: the daemon ends a session
that does not answer for ten."""

MAX_MESSAGE = 1 << 18
"""Bytes; OpenSSH takes no more either."""
FAILURE, REQUEST_IDENTITIES, IDENTITIES, SIGN_REQUEST, SIGNATURE = 5, 11, 12, 13, 14
REFUSED = bytes([FAILURE])
_LENGTH = struct.Struct(">I")


class AgentProtocolError(ValueError):
    """The peer does not speak the protocol of an agent."""


def with_length(message: bytes) -> bytes:
    """A message, or a field of one, with its length in front."""
    return _LENGTH.pack(len(message)) + message


def number(value: int) -> bytes:
    """A field that is a number of 32 bits."""
    return _LENGTH.pack(value)


def take_requests(received: bytearray) -> Iterator[bytes]:
    """Removes the complete messages from what was received, and yields them. Raises AgentProtocolError."""
    while len(received) >= _LENGTH.size:
        (size,) = _LENGTH.unpack_from(received)
        if not 0 < size <= MAX_MESSAGE:
            raise AgentProtocolError(f"a message of {size} bytes")
        end = _LENGTH.size + size
        if len(received) < end:
            return
        message = bytes(received[_LENGTH.size : end])
        del received[:end]
        yield message


def read_field(message: bytes, at: int) -> tuple[bytes, int]:
    """The field with a length at this place, and the place after it. Raises AgentProtocolError."""
    size, start = read_number(message, at)
    if size > len(message) - start:
        raise AgentProtocolError("a field that is longer than its message")
    return message[start : start + size], start + size


def read_number(message: bytes, at: int) -> tuple[int, int]:
    """The number at this place, and the place after it. Raises AgentProtocolError."""
    if len(message) - at < _LENGTH.size:
        raise AgentProtocolError("a message that ends too early")
    return _LENGTH.unpack_from(message, at)[0], at + _LENGTH.size
