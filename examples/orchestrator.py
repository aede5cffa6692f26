"""A small build orchestrator: workers register at it, and it sends one job to a free one of them.

    python examples/orchestrator.py 127.0.0.1:5051 owner/repo main team/app:1.0

Needs grpcio and grpcio-tools, which reads the protocol from two .proto files. GITHUB_TOKEN, if it is set, is sent with
the job. Workers are pinged every two minutes; one that does not answer is dead until it does. A job has five minutes.
Ctrl-C cancels it: the worker ends it at once.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import grpc
import grpc.aio

sys.path.append(str(Path(__file__).resolve().parents[1] / "taskrunner/queues/orchestrator/protocol"))
jobs: Any = grpc.protos("job.proto")  # in a project of your own: the code that protoc generates
workers: Any = grpc.protos("worker.proto")

PING_INTERVAL, PING_LIMIT = 120.0, 3.0
JOB_LIMIT = 300.0
"""Seconds, as above."""

AGAIN = 0.5
"""Seconds between two looks for a free worker."""


@attrs.define(eq=False)
class Worker:
    """One worker, and the connection to it."""

    info: Any
    status: str = "free"
    channel: grpc.aio.Channel = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        host = f"[{self.info.ip}]" if ":" in self.info.ip else self.info.ip
        self.channel = grpc.aio.insecure_channel(f"{host}:{self.info.port}")

    def method(self, name: str, request: Any, response: Any) -> Any:
        return self.channel.unary_unary(f"/job.JobService/{name}", request.SerializeToString, response.FromString)

    async def ping(self) -> None:
        ping = self.method("Ping", jobs.PingRequest, jobs.PingResponse)
        try:
            answer = await ping(jobs.PingRequest(), timeout=PING_LIMIT)
            self.status = "free" if answer.status == jobs.FREE else "busy"
        except grpc.aio.AioRpcError:
            self.status = "dead"


class Orchestrator:
    """Knows the workers that have registered since it was started."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}

    @asynccontextmanager
    async def serving(self, address: str) -> AsyncIterator[int]:
        """Listens, and yields the port."""
        register: Any = grpc.unary_unary_rpc_method_handler(
            self.register, workers.WorkerInfo.FromString, workers.RegisterAck.SerializeToString
        )
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("worker.WorkerService", {"Register": register}),)
        )
        port = server.add_insecure_port(address)
        await server.start()
        pinging = asyncio.create_task(self.ping_all())
        try:
            yield port
        finally:
            pinging.cancel()
            for worker in self.workers.values():
                await worker.channel.close()
            await server.stop(None)

    async def register(self, info: Any, _: Any) -> Any:
        """A worker that comes again has been restarted, or was forgotten."""
        if known := self.workers.pop(info.id, None):
            await known.channel.close()
        self.workers[info.id] = Worker(info)
        return workers.RegisterAck(success=True, message="welcome")

    async def ping_all(self) -> None:
        while True:
            await asyncio.sleep(PING_INTERVAL)
            await asyncio.gather(*(worker.ping() for worker in self.workers.values()))

    async def run(self, request: Any) -> Any:
        """Sends a job to a free worker, and again while the chosen one does not take it. To cancel the job, the caller
        is cancelled.

        Raises: grpc.aio.AioRpcError (the time of the job is over).
        """
        while True:
            worker = await self.free_worker()
            worker.status = "busy"
            run_job = worker.method("RunJob", jobs.JobRequest, jobs.JobResponse)
            try:
                response = await run_job(request, timeout=JOB_LIMIT)
            except grpc.aio.AioRpcError as error:
                if error.code() not in {grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}:
                    raise
                print(f"{worker.info.id}: {error.details()}", file=sys.stderr)  # busy, or gone: until it answers again
                worker.status = "busy" if error.code() is grpc.StatusCode.UNKNOWN else "dead"
            else:
                worker.status = "free"
                return response

    async def free_worker(self) -> Worker:
        while True:
            for worker in self.workers.values():
                if worker.status != "free":
                    await worker.ping()
                if worker.status == "free":
                    return worker
            await asyncio.sleep(AGAIN)


async def run_once(address: str, repository: str, branch: str, image: str) -> Any:
    request = jobs.JobRequest(
        jobId=f"example-{os.getpid()}", repoUrl=repository, branch=branch, imageName=image, contextDir="."
    )
    request.dockerfilePath, request.githubToken = "Dockerfile", os.environ.get("GITHUB_TOKEN", "")
    orchestrator = Orchestrator()
    async with orchestrator.serving(address):
        return await orchestrator.run(request)


def main(*arguments: str) -> int:
    response = asyncio.run(run_once(*arguments))
    print(f"{response.logs}{response.imageUrl or response.error}")
    return 0 if response.success else 1


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main(*sys.argv[1:]))
    sys.exit(130)
