"""What an orchestrator, or whoever reaches the port, can send, and what each gets. The worker runs a job afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import grpc
import grpc.aio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from examples.orchestrator import jobs
from taskrunner.queues.orchestrator.log_tail import MARK
from taskrunner.testing.conformance.push_source.harness import LINE, WorkerScene
from tests.support.agent_client import open_channel
from tests.support.orchestrator_client import job_method, ping, run_job
from tests.support.orchestrator_kit import OrchestratorKit

LIMIT = 40.0
FOREVER = {"run_for": 3600, "max_run_time": 7200}
JOB = {"jobId": "x", "repoUrl": "team/web", "branch": "main", "imageName": "web"}


@asynccontextmanager
async def claiming(home: Path) -> AsyncIterator[tuple[WorkerScene, grpc.aio.Channel]]:
    """A worker and a connection to it. In the end it must still take a job, and have nothing else."""
    kit = OrchestratorKit()
    async with asyncio.timeout(LIMIT), kit.working(home) as scene:
        await scene.client()
        async with open_channel(kit.port) as channel:
            yield scene, channel
            await until_free(channel)
        assert (await scene.story("last")).answer == "completed"


async def until_free(channel: grpc.aio.Channel) -> None:
    while (await ping(channel)).status != jobs.FREE:  # noqa: ASYNC110  a worker says it when it is asked
        await asyncio.sleep(0.01)


def request(**fields: str) -> bytes:
    made: bytes = jobs.JobRequest(**(JOB | fields)).SerializeToString()
    return made


@attrs.frozen
class Got:
    """The status of a call, and a part of its message or of the error in its response."""

    status: grpc.StatusCode = grpc.StatusCode.OK
    words: str = ""


UNREADABLE = Got(grpc.StatusCode.INVALID_ARGUMENT, "the message is no JobRequest")
TOO_LARGE = Got(grpc.StatusCode.RESOURCE_EXHAUSTED)

MALFORMED: dict[str, tuple[bytes, Got]] = {
    "nothing": (b"", Got(words="Failed to clone the repo: repoUrl: '' is no owner/repo")),
    "an unknown field": (b"\x92\x06\x00", Got(words="Failed to clone the repo: repoUrl: ''")),
    "a number in place of the id": (b"\x08\x01", Got(words="Failed to clone the repo: repoUrl: ''")),
    "a URL": (request(repoUrl="https://h/x/y"), Got(words="Failed to clone the repo: repoUrl: 'https://h/x/y'")),
    "an option": (request(repoUrl="--upload-pack=x"), Got(words="Failed to clone the repo: repoUrl: ")),
    "a path": (request(repoUrl="/etc/x"), Got(words="Failed to clone the repo: repoUrl: ")),
    "the folder above": (request(repoUrl="../../x"), Got(words="Failed to clone the repo: repoUrl: ")),
    "no id": (request(jobId=""), Got(words="Failed to build Docker image: jobId: is no id")),
    "no image": (request(imageName=""), Got(words="Failed to push Docker image: imageName: is empty")),
    "another registry": (request(imageName="h.example/x"), Got(words="Failed to push Docker image: imageName: h.ex")),
    "a task beyond the limit": (request(branch="x" * (2 << 20)), Got(words="larger than 1048576 bytes")),
    "no protobuf": (b"\xff\xff\xff\xff", UNREADABLE),
    "a message that is cut": (request()[:-1], UNREADABLE),
    "a length beyond the end": (b"\x0a\x7fx", UNREADABLE),
    "a text that is no UTF-8": (b"\x0a\x01\xff", UNREADABLE),
    "a group without an end": (b"\x0b" * 1000, UNREADABLE),
    "a message beyond the limit": (request(branch="x" * (4 << 20)), TOO_LARGE),
}


async def outcome(call: Any) -> Got:
    try:
        response = await call
    except grpc.aio.AioRpcError as error:
        return Got(error.code(), error.details() or "")
    assert not response.success
    assert not response.imageUrl
    return Got(words=response.error)


def test_each_malformed_message_gets_its_answer(tmp_path: Path) -> None:
    async def main() -> None:
        async with claiming(tmp_path) as (_, channel):
            call = job_method(channel, "RunJob", response=jobs.JobResponse)
            for name, (sent, expected) in MALFORMED.items():
                got = await outcome(call(sent))
                assert (got.status, expected.words in got.words) == (expected.status, True), (name, got)

    asyncio.run(main())


def test_what_is_no_call_of_the_protocol_gets_the_status_of_grpc(tmp_path: Path) -> None:
    async def never() -> AsyncIterator[bytes]:
        for nothing in ():
            yield nothing

    async def main() -> None:
        async with claiming(tmp_path) as (_, channel):
            assert (await outcome(job_method(channel, "NoSuch")(b""))).status is grpc.StatusCode.UNIMPLEMENTED
            stream = channel.stream_unary("/job.JobService/RunJob", None, jobs.JobResponse.FromString)
            expected = Got(grpc.StatusCode.INVALID_ARGUMENT, "the call has no message (send a JobRequest)")
            assert await outcome(stream(never())) == expected
            bomb = job_method(channel, "RunJob")(request(branch="0" * (64 << 20)), compression=grpc.Compression.Gzip)
            assert (await outcome(bomb)).status is grpc.StatusCode.RESOURCE_EXHAUSTED
            junk = await job_method(channel, "Ping", response=jobs.PingResponse)(b"\xff\xff")
            assert junk.status == jobs.FREE

    asyncio.run(main())


# ---- jobs -------------------------------------------------------------------------------------------------


async def begun(scene: WorkerScene, channel: grpc.aio.Channel, job_id: str = "held", **script: Any) -> Any:
    """A job that runs."""
    scene.kit.documents[job_id] = {"platform": "fake", **FOREVER, **script}  # type: ignore[attr-defined]
    call = run_job(channel, jobId=job_id)
    await scene.until_state("running")
    return call


def test_a_busy_worker_says_so_in_the_words_of_the_protocol(tmp_path: Path) -> None:
    async def main() -> None:
        async with claiming(tmp_path) as (scene, channel):
            assert (await ping(channel)).workerId == scene.worker.services.worker_id
            call = await begun(scene, channel)
            assert (await ping(channel)).status == jobs.BUSY
            busy = Got(grpc.StatusCode.UNKNOWN, "worker is currently busy")
            for got in await asyncio.gather(*(outcome(run_job(channel, **JOB)) for _ in range(200))):
                assert got == busy
            call.cancel()

    asyncio.run(main())


def test_a_call_that_is_cancelled_or_whose_deadline_is_over_ends_its_job(tmp_path: Path) -> None:
    async def main() -> None:
        async with claiming(tmp_path) as (scene, channel):
            (await begun(scene, channel)).cancel()
            await until_free(channel)
            scene.kit.documents["late"] = {"platform": "fake", **FOREVER}  # type: ignore[attr-defined]
            request = jobs.JobRequest(jobId="late")
            late = job_method(channel, "RunJob", jobs.JobRequest, jobs.JobResponse)(request, timeout=3)
            assert (await outcome(late)).status is grpc.StatusCode.DEADLINE_EXCEEDED
            await until_free(channel)
            assert [each.reason for each in scene.seen.endings.values()] == ["claim-expired"] * 2

    asyncio.run(main())


def test_a_job_that_follows_the_end_of_another_one_at_once_waits_for_its_slot(tmp_path: Path) -> None:
    """An orchestrator takes `currently busy` for a job that it does not know."""

    async def main() -> None:
        async with claiming(tmp_path) as (scene, channel):
            documents = scene.kit.documents  # type: ignore[attr-defined]
            for number in range(10):
                held, *after = (f"{name}{number}" for name in ("held", "one", "two"))
                documents |= {held: {"platform": "fake", **FOREVER}} | {key: {"platform": "fake"} for key in after}
                call = run_job(channel, jobId=held)
                while (await ping(channel)).status == jobs.FREE:
                    """The call is on its way."""
                call.cancel()
                for job_id in after:
                    assert (await run_job(channel, jobId=job_id)).success

    asyncio.run(main())


def test_a_worker_that_stops_answers_that_the_job_was_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        kit = OrchestratorKit()
        async with asyncio.timeout(LIMIT), kit.working(tmp_path) as scene:
            await scene.client()
            async with open_channel(kit.port) as channel:
                call = await begun(scene, channel)
                scene.worker.shutdown(immediate=True, why="the machine is sold")
                assert await outcome(call) == Got(words="Execution cancelled")

    asyncio.run(main())


def test_a_response_has_the_log_to_its_last_line(tmp_path: Path) -> None:
    async def main() -> None:
        async with claiming(tmp_path) as (scene, channel):
            script = {"platform": "fake", "log": "hello\n"}
            scene.kit.documents["one"] = script  # type: ignore[attr-defined]
            response = await run_job(channel, jobId="one")
            assert (response.jobId, response.success, response.error) == ("one", True, "")
            run = await scene.until_over()
            assert response.logs.encode() == scene.spool(run)

    asyncio.run(main())


def test_of_a_long_log_a_response_has_the_end_within_the_limit_of_its_client(tmp_path: Path) -> None:
    async def main() -> None:
        async with claiming(tmp_path) as (scene, channel):
            page = LINE * 2000
            script = {"platform": "fake", "log": page, "log_every": 0.002, "run_for": 0.5, "exit_code": 3}
            scene.kit.documents["long"] = script  # type: ignore[attr-defined]
            response = await run_job(channel, jobId="long")
            run = await scene.until_over()
            assert response.error.startswith("Failed to build Docker image: ")
            assert len(scene.spool(run)) > 4 << 20
            assert response.logs.startswith(MARK)
            assert scene.spool(run).decode().endswith(response.logs.removeprefix(MARK))

    asyncio.run(main())


def test_reflection_shows_the_service(tmp_path: Path) -> None:
    async def main() -> None:
        async with claiming(tmp_path) as (_, channel):
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            asked = [
                reflection_pb2.ServerReflectionRequest(list_services=""),
                reflection_pb2.ServerReflectionRequest(file_containing_symbol="job.JobService"),
            ]
            services, file = [answer async for answer in stub.ServerReflectionInfo(asked)]
            assert "job.JobService" in {each.name for each in services.list_services_response.service}
            [described] = file.file_descriptor_response.file_descriptor_proto
            proto = FileDescriptorProto.FromString(described)
            assert [method.name for method in proto.service[0].method] == ["RunJob", "Ping"]

    asyncio.run(main())
