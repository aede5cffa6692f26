"""What the port offers beside the protocol: capacity, health and reflection, asked by real clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from examples.fastlane_server import messages
from taskrunner.testing.conformance.push_source.harness import WorkerScene
from tests.support.agent_client import open_channel
from tests.support.agent_kit import AgentKit

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
AGENT = "FastlaneCI.Proto.Agent"
LIMIT = 20.0


@asynccontextmanager
async def scene_and_channel(home: Path, capacity: int = 2) -> AsyncIterator[tuple[WorkerScene, grpc.aio.Channel]]:
    kit = AgentKit()
    async with asyncio.timeout(LIMIT), kit.working(home, capacity=capacity) as scene:
        await scene.client()
        async with open_channel(kit.port) as channel:
            yield scene, channel


async def capacity_of(channel: grpc.aio.Channel) -> tuple[int, int, int, bool, str]:
    answer = await channel.unary_unary(
        "/taskrunner.v1.Capacity/GetCapacity",
        request_serializer=CAPACITY.GetCapacityRequest.SerializeToString,
        response_deserializer=CAPACITY.GetCapacityResponse.FromString,
    )(CAPACITY.GetCapacityRequest())
    return answer.capacity, answer.free, answer.busy, answer.fit, answer.why


CAPACITY: Any = grpc.protos("capacity.proto")


def test_the_capacity_says_how_many_builds_are_and_would_be_taken(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene_and_channel(tmp_path) as (scene, channel):
            assert await capacity_of(channel) == (2, 2, 0, True, "")
            await scene.dispatch(run_for=3600, max_run_time=7200)
            await scene.until_state("running")
            assert await capacity_of(channel) == (2, 1, 1, True, "")
            scene.worker.shutdown(immediate=False, why="the machine is left")
            while (await capacity_of(channel))[3]:
                pass
            assert await capacity_of(channel) == (2, 0, 1, False, "the worker is stopping: the machine is left")

    asyncio.run(main())


def test_a_busy_agent_is_healthy_and_one_that_stops_is_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene_and_channel(tmp_path, capacity=1) as (scene, channel):
            stub = health_pb2_grpc.HealthStub(channel)
            await scene.dispatch(run_for=3600, max_run_time=7200)
            await scene.until_state("running")
            watching = stub.Watch(health_pb2.HealthCheckRequest(service=AGENT))
            assert (await watching.read()).status == SERVING
            scene.worker.shutdown(immediate=False, why="the machine is left")
            assert (await watching.read()).status == NOT_SERVING
            for service in ("", AGENT):
                assert (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status == NOT_SERVING

    asyncio.run(main())


def test_reflection_describes_the_services_to_the_last_field(tmp_path: Path) -> None:
    def ask(port: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            assert set(database.get_services()) == {
                AGENT,
                "taskrunner.v1.Capacity",
                "grpc.health.v1.Health",
                "grpc.reflection.v1alpha.ServerReflection",
            }
            described = database.FindFileContainingSymbol(AGENT)
            assert [message.name for message in described.message_type] == list(
                messages.DESCRIPTOR.message_types_by_name
            )
            assert database.FindFileContainingSymbol("grpc.health.v1.Health").package == "grpc.health.v1"

    async def main() -> None:
        async with scene_and_channel(tmp_path) as (scene, _):
            await asyncio.to_thread(ask, scene.kit.port)  # type: ignore[attr-defined]

    asyncio.run(main())
