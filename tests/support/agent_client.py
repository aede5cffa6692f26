"""A caller of the agent: grpcio, with the classes that protoc makes of the .proto."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections import deque
from typing import Any, Self

import grpc
import grpc.aio

from examples.fastlane_server import State, messages
from taskrunner.model import Document
from taskrunner.testing.conformance.push_source.client import Kind, PeerMessage, PushClient

ENDS: dict[int, tuple[Kind, str]] = {
    State.SUCCEEDED: ("answer", "completed"),
    State.FAILED: ("answer", "failed"),
    State.BROKEN: ("answer", "exception"),
    State.REJECTED: ("refusal", "rejected"),
}

CONNECT_LIMIT = 5.0
"""Seconds for a connection to a port of this machine."""


def open_channel(port: int) -> grpc.aio.Channel:
    """A connection of its own, which is not shared with other channels. Its buffer does not grow with the speed of the
    loopback, so that it is known what fits into it."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)


def run_fastlane(channel: grpc.aio.Channel, command: dict[str, Any], **options: Any) -> Any:
    """The call."""
    method = channel.unary_stream(
        "/FastlaneCI.Proto.Agent/RunFastlane",
        request_serializer=messages.InvocationRequest.SerializeToString,
        response_deserializer=messages.InvocationResponse.FromString,
    )
    return method(messages.InvocationRequest(command=command), **options)


class AgentClient(PushClient):
    """One call, which has a connection of its own."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._call: Any = None
        self._pending: deque[PeerMessage] = deque()
        self._archive = b""

    @classmethod
    async def connect(cls, port: int) -> Self:
        """Raises: OSError."""
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return cls(open_channel(port))

    async def dispatch(self, task_id: str, document: Document) -> None:
        self._call = run_fastlane(self._channel, {"bin": task_id})

    async def cancel(self) -> None:
        raise NotImplementedError  # a call that is cancelled has no answer

    async def disconnect(self) -> None:
        if self._call:
            self._call.cancel()  # an older gRPC leaves a call open that nobody reads
        await self._channel.close()

    async def receive(self) -> PeerMessage:
        while not self._pending:
            try:
                message = await self._call.read()
            except (grpc.aio.AioRpcError, asyncio.CancelledError):
                raise EOFError from None
            if message is grpc.aio.EOF:
                raise EOFError
            await self._take(message)
        return self._pending.popleft()

    async def _take(self, message: Any) -> None:
        match message.WhichOneof("message_types"):
            case "state" if message.state in ENDS:
                self._pending.extend(self._artifacts())
                kind, ending = ENDS[message.state]
                words = "" if message.state == State.SUCCEEDED else (await self._call.read()).error.description
                self._pending.append(PeerMessage(kind, f"{ending}: {words}"))
            case "state":
                self._pending.append(PeerMessage("state", State.Name(message.state)))
            case "log":
                self._pending.append(PeerMessage("log", data=message.log.message.encode()))
            case "artifact":
                assert message.artifact.filename == "Archive.tgz"
                self._archive += message.artifact.chunk

    def _artifacts(self) -> list[PeerMessage]:
        return [PeerMessage("artifact", name=name, data=data) for name, data in unpack(self._archive).items()]


def unpack(archive: bytes) -> dict[str, bytes]:
    """The files of an archive."""
    if not archive:
        return {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return {entry.name: file.read() for entry in tar if (file := tar.extractfile(entry))}
