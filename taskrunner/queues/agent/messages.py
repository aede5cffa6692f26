"""The messages of the protocol, by the descriptors that `script/protocols.py` compiles."""

from __future__ import annotations

from enum import IntEnum

from google.protobuf.message import Message

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


def state_message(state: State) -> Message:
    response: Message = InvocationResponse(state=state)
    return response


def log_message(text: str, level: Level, timestamp: int) -> Message:
    """`timestamp` in seconds since 1970."""
    response: Message = InvocationResponse(log={"message": text, "level": level, "timestamp": timestamp})
    return response


def artifact_message(filename: str, chunk: bytes) -> Message:
    response: Message = InvocationResponse(artifact={"filename": filename, "chunk": chunk})
    return response


def error_message(description: str, exit_status: int = 0) -> Message:
    response: Message = InvocationResponse(error={"description": description, "exit_status": exit_status})
    return response
