"""The messages of the protocol, by the descriptors that `script/protocols.py` compiles.

What an agent sends is made here as bytes: as it goes on the wire.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from taskrunner.queues.listening.grpc_messages import load_protocol, message_class

AGENT = "FastlaneCI.Proto.Agent"
CAPACITY = "taskrunner.v1.Capacity"

POOL = load_protocol(__package__)

InvocationRequest = message_class(POOL, "FastlaneCI.Proto.InvocationRequest")
InvocationResponse = message_class(POOL, "FastlaneCI.Proto.InvocationResponse")
GetCapacityRequest = message_class(POOL, "taskrunner.v1.GetCapacityRequest")
GetCapacityResponse = message_class(POOL, "taskrunner.v1.GetCapacityResponse")


class State(IntEnum):
    """`InvocationResponse.State`."""

    PENDING = 0
    RUNNING = 1
    FINISHING = 2
    BROKEN = 3
    SUCCEEDED = 4
    FAILED = 5
    REJECTED = 6


class Level(IntEnum):
    """`Log.Level`. There is no 4."""

    DEBUG = 0
    INFO = 1
    WARN = 2
    ERROR = 3
    FATAL = 5


def state_message(state: State) -> bytes:
    return _bytes(state=state)


def log_message(text: bytes, level: Level, timestamp: int) -> bytes:
    """`text` is UTF-8; `timestamp` is in seconds since 1970.

    Most of what an agent sends is text, so this is written by hand: protobuf takes a `str`, and copies it three times.
    """
    head = b"\x0a" + varint(len(text)) if text else b""
    tail = (b"\x10" + varint(level) if level else b"") + (b"\x20" + varint(timestamp) if timestamp else b"")
    return b"".join((b"\x12", varint(len(head) + len(text) + len(tail)), head, text, tail))


def artifact_message(filename: str, chunk: bytes) -> bytes:
    return _bytes(artifact={"filename": filename, "chunk": chunk})


def error_message(description: str, exit_status: int = 0, stacktrace: str = "") -> bytes:
    return _bytes(error={"description": description, "stacktrace": stacktrace, "exit_status": exit_status})


def varint(number: int) -> bytes:
    """A number as protobuf writes it: 7 bits in a byte, the lowest first; the eighth bit says that more follow."""
    encoded = bytearray()
    while number >> 7:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _bytes(**fields: Any) -> bytes:
    encoded: bytes = InvocationResponse(**fields).SerializeToString()
    return encoded
