"""The messages on the wire, byte by byte: written by hand from the protocol, and not by the classes under test."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from script.protocols import compile_protocol
from taskrunner.errors import Bug
from taskrunner.queues.agent import messages
from taskrunner.queues.agent.invocation import TRANSITIONS, Event, events_to
from taskrunner.queues.agent.messages import InvocationRequest, InvocationResponse, Level, State

FOLDER = Path(messages.__file__).parent / "protocol"


def test_the_descriptors_are_those_of_the_proto_files(tmp_path: Path) -> None:
    """`python script/protocols.py` makes them."""
    compile_protocol(FOLDER, tmp_path / "protocol.binpb")
    compiled = FileDescriptorSet.FromString((tmp_path / "protocol.binpb").read_bytes())
    assert FileDescriptorSet.FromString((FOLDER / "protocol.binpb").read_bytes()) == compiled


@pytest.mark.parametrize(("enum", "name"), [(State, "InvocationResponse.State"), (Level, "Log.Level")])
def test_the_enums_have_the_values_of_the_protocol(enum: type[State | Level], name: str) -> None:
    values = messages.POOL.FindEnumTypeByName(f"FastlaneCI.Proto.{name}").values_by_name
    assert {member.name: member.value for member in enum} == {key: value.number for key, value in values.items()}


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (messages.state_message(State.RUNNING), b"\x08\x01"),
        (messages.state_message(State.FINISHING), b"\x08\x02"),
        (messages.state_message(State.BROKEN), b"\x08\x03"),
        (messages.state_message(State.SUCCEEDED), b"\x08\x04"),
        (messages.state_message(State.FAILED), b"\x08\x05"),
        (messages.state_message(State.REJECTED), b"\x08\x06"),
        (messages.log_message(b"a\n", Level.ERROR, 127), b"\x12\x08\x0a\x02a\n\x10\x03\x20\x7f"),
        (messages.log_message(b"a\n", Level.DEBUG, 127), b"\x12\x06\x0a\x02a\n\x20\x7f"),
        (messages.log_message("ü".encode(), Level.INFO, 128), b"\x12\x09\x0a\x02\xc3\xbc\x10\x01\x20\x80\x01"),
        (messages.artifact_message("A.tgz", b"\x00\xff"), b"\x1a\x0b\x0a\x05A.tgz\x12\x02\x00\xff"),
        (messages.error_message("no"), b'"\x04\x0a\x02no'),
        (messages.error_message("", 3), b'"\x02\x28\x03'),
    ],
)
def test_a_message_has_these_bytes(message: bytes, wire: bytes) -> None:
    assert message == wire
    assert InvocationResponse.FromString(wire).SerializeToString() == wire


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 1 << 21])
@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("timestamp", [0, 127, 128, (1 << 32) - 1])
def test_a_log_message_is_that_of_protobuf(size: int, level: Level, timestamp: int) -> None:
    """Its numbers have one byte or more, and what is zero is left out."""
    log = {"message": "x" * size, "level": level, "timestamp": timestamp}
    assert messages.log_message(b"x" * size, level, timestamp) == InvocationResponse(log=log).SerializeToString()


def test_a_request_of_these_bytes_is_read() -> None:
    env = b"\x1a\x06\x0a\x01K\x12\x01v"
    request = InvocationRequest.FromString(b"\x0a\x12\x0a\x02sh\x12\x02-c\x12\x00" + env + b"\x92\x06\x00")
    assert (request.command.bin, list(request.command.parameters)) == ("sh", ["-c", ""])
    assert dict(request.command.env) == {"K": "v"}


@pytest.mark.parametrize(
    ("event", "states"),
    [
        ("succeed", ["RUNNING", "FINISHING", "SUCCEEDED"]),
        ("fail", ["RUNNING", "FAILED"]),
        ("reject", ["REJECTED"]),
        ("throw", ["BROKEN"]),
    ],
)
def test_every_state_on_the_way_to_an_end_is_sent(event: Event, states: list[str]) -> None:
    state, sent = State.PENDING, []
    for step in events_to(State.PENDING, event):
        state = TRANSITIONS[state, step]
        sent.append(state.name)
    assert sent == states


def test_an_invocation_that_is_over_has_no_further_event() -> None:
    ends = {State.SUCCEEDED, State.FAILED, State.REJECTED, State.BROKEN}
    assert ends.isdisjoint(state for state, _ in TRANSITIONS)
    for end in ends:
        with pytest.raises(Bug, match=f"an invocation that is {end.name} has no event throw"):
            events_to(end, "throw")
