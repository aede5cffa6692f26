"""What an agent offers beside its protocol, on the same port: capacity, the standard health, and reflection."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from taskrunner.interfaces.push import Credits
from taskrunner.queues.agent.messages import AGENT, CAPACITY, POOL, GetCapacityRequest, GetCapacityResponse

HEALTH_INTERVAL = 1.0
"""Seconds until who watches the health of this agent is told of a change."""

for _file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
    POOL.AddSerializedFile(_file.serialized_pb)


def capacity_handler(credits: Credits) -> grpc.GenericRpcHandler:  # noqa: A002  the word of `PushSource.serve`
    """The Capacity service."""

    async def get_capacity(_: Message, __: Any) -> Any:
        fit = credits.fit
        return GetCapacityResponse(
            capacity=credits.capacity, free=credits.free, busy=credits.busy, fit=fit.fit, why=fit.why
        )

    method = grpc.unary_unary_rpc_method_handler(
        get_capacity,
        request_deserializer=GetCapacityRequest.FromString,
        response_serializer=GetCapacityResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(CAPACITY, {"GetCapacity": method})


class AgentHealth(health.aio.HealthServicer):
    """SERVING while runs would be taken if a slot were free. A busy agent is healthy: its capacity says the rest."""

    def __init__(self, credits: Credits) -> None:  # noqa: A002  as above
        super().__init__()
        self._credits = credits

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802  gRPC's name
        await self.refresh()
        return await super().Check(request, context)

    async def refresh(self) -> None:
        answer = health_pb2.HealthCheckResponse
        status = answer.SERVING if self._credits.fit.fit else answer.NOT_SERVING
        for service in ("", AGENT):
            await self.set(service, status)

    async def keep_fresh(self) -> None:
        """For who watches. Runs until it is cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(HEALTH_INTERVAL)


def add_services(server: grpc.aio.Server, credits: Credits) -> AgentHealth:  # noqa: A002  as above
    """Before the start of the server. The caller keeps the health fresh."""
    checked = AgentHealth(credits)
    health_pb2_grpc.add_HealthServicer_to_server(checked, server)
    server.add_generic_rpc_handlers((capacity_handler(credits),))
    names = (AGENT, CAPACITY, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server, POOL)
    return checked
