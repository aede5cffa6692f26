"""The messages on the wire, byte by byte: written by hand from the protocol, and not by the classes under test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from script.protocols import compile_protocol
from taskrunner.queues.orchestrator import messages
from taskrunner.queues.orchestrator.messages import JobServiceStatus

FOLDER = Path(messages.__file__).parent / "protocol"


def test_the_descriptors_are_those_of_the_proto_files(tmp_path: Path) -> None:
    """`python script/protocols.py` makes them."""
    compile_protocol(FOLDER, tmp_path / "protocol.binpb")
    compiled = FileDescriptorSet.FromString((tmp_path / "protocol.binpb").read_bytes())
    assert FileDescriptorSet.FromString((FOLDER / "protocol.binpb").read_bytes()) == compiled


def test_the_status_has_the_values_of_the_protocol() -> None:
    values = messages.POOL.FindEnumTypeByName("job.WorkerStatus").values_by_name
    assert {member.name: member.value for member in JobServiceStatus} == {
        key: each.number for key, each in values.items()
    }


REQUEST: dict[str, Any] = {
    "jobId": "j",
    "repoUrl": "o/r",
    "branch": "b",
    "dockerfilePath": "d",
    "contextDir": "c",
    "imageName": "i",
    "githubToken": "t",
}


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (messages.JobRequest(**REQUEST), b'\x0a\x01j\x12\x03o/r\x1a\x01b"\x01d*\x01c2\x01i:\x01t'),
        (
            messages.JobResponse(jobId="j", success=True, logs="l", imageUrl="u", error=""),
            b'\x0a\x01j\x10\x01\x1a\x01l"\x01u',
        ),
        (messages.JobResponse(jobId="j", error="e"), b"\x0a\x01j*\x01e"),
        (messages.PingResponse(workerId="w", status=JobServiceStatus.FREE), b"\x0a\x01w\x10\x01"),
        (messages.PingResponse(workerId="w", status=JobServiceStatus.BUSY), b"\x0a\x01w\x10\x02"),
        (messages.WorkerInfo(id="w", ip="1", port=6000, region="r"), b'\x0a\x01w\x12\x011\x18\xf0."\x01r'),
        (messages.RegisterAck(success=True, message="m"), b"\x08\x01\x12\x01m"),
        (messages.ProbeRequest(id="w"), b"\x0a\x01w"),
        (messages.ProbeResponse(healthy=True), b"\x08\x01"),
    ],
)
def test_a_message_has_these_bytes(message: Any, wire: bytes) -> None:
    assert message.SerializeToString() == wire
    assert type(message).FromString(wire) == message
