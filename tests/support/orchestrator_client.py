"""A caller of a worker of an orchestrator: grpcio, with the classes that protoc makes of the .proto."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import grpc
import grpc.aio

from examples.orchestrator import jobs
from taskrunner.model import Document
from taskrunner.testing.conformance.push_source.client import PeerMessage, PushClient
from tests.support.agent_client import open_channel


def job_method(channel: grpc.aio.Channel, name: str, request: Any = None, response: Any = None) -> Any:
    """A method of JobService. Without a class, its request is bytes."""
    return channel.unary_unary(
        f"/job.JobService/{name}", request and request.SerializeToString, response and response.FromString
    )


def run_job(channel: grpc.aio.Channel, **fields: str) -> Any:
    """The call."""
    return job_method(channel, "RunJob", jobs.JobRequest, jobs.JobResponse)(jobs.JobRequest(**fields))


async def ping(channel: grpc.aio.Channel) -> Any:
    return await job_method(channel, "Ping", jobs.PingRequest, jobs.PingResponse)(jobs.PingRequest())


class OrchestratorClient(PushClient):
    """One call, which has a connection of its own."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._call: Any = None

    @classmethod
    async def connect(cls, port: int) -> Self:
        """Raises: OSError."""
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return cls(open_channel(port))

    async def dispatch(self, task_id: str, document: Document) -> None:
        self._call = run_job(self._channel, jobId=task_id)

    async def cancel(self) -> None:
        raise NotImplementedError  # a call that is cancelled has no answer

    async def disconnect(self) -> None:
        if self._call:
            self._call.cancel()
        await self._channel.close()

    async def receive(self) -> PeerMessage:
        try:
            response = await self._call
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNKNOWN:
                raise EOFError from None
            return PeerMessage("refusal", error.details() or "")
        except asyncio.CancelledError:
            raise EOFError from None
        return PeerMessage("answer", _ending(response))


def _ending(response: Any) -> str:
    """A response has no kind of its end, but a text that says where it failed."""
    if response.success:
        return "completed"
    failed = "exit code" in response.error
    return f"{'failed' if failed else 'exception'}: {response.error}"
