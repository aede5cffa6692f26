"""The registration of this worker at its orchestrator, which forgets its workers when it is restarted.

A connection is kept for as long as the worker is registered. When that ends, or the orchestrator does not know the
worker any more, the worker registers again, until it is told that it is registered.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from typing import Any

import attrs
import grpc
import grpc.aio

from taskrunner.errors import Unavailable
from taskrunner.queues.listening import Address
from taskrunner.queues.orchestrator.messages import (
    WORKER_SERVICE,
    ProbeRequest,
    ProbeResponse,
    RegisterAck,
    WorkerInfo,
)

log = logging.getLogger(__name__)

CALL_LIMIT = 10.0
"""Seconds for an answer of the orchestrator, and for the connection."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between two attempts to register, twice as long each time."""

PROBE_INTERVAL = 30.0
"""Seconds between two looks at the orchestrator. Its machine may have gone without ending the connection."""

SILENCE = 300.0
"""Seconds without a Ping after which a worker that is free registers again: two intervals of orchestrators, and a part
of a third. One that never pings is told the same thing again."""

OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),  # each attempt makes a connection of its own, without gRPC's own pauses
    ("grpc.client_idle_timeout_ms", 2**31 - 1),  # the connection says that the orchestrator is the same one
]

_GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


@attrs.define(eq=False)
class Registration:
    """Keeps one worker registered."""

    orchestrator: Address
    info: Any
    """A `WorkerInfo`."""
    _heard_at: float = 0.0

    def pinged(self) -> None:
        """The orchestrator has called this worker."""
        self._heard_at = asyncio.get_running_loop().time()

    async def keep(self) -> None:
        """Runs until it is cancelled. What stands in the way is warned of once, until that is another thing."""
        pauses, warned = _pauses(), ""
        while True:
            try:
                async with grpc.aio.insecure_channel(str(self.orchestrator), OPTIONS) as channel:
                    await self._register(channel)
                    pauses, warned = _pauses(), ""
                    await self._until_lost(channel)
            except Unavailable as error:
                if str(error) != warned:
                    log.warning("%s; registering again", error)
                warned = str(error)
            await asyncio.sleep(next(pauses))

    async def _register(self, channel: grpc.aio.Channel) -> None:
        """Raises: Unavailable."""
        try:
            ack = await _method(channel, "Register", WorkerInfo, RegisterAck)(self.info, timeout=CALL_LIMIT)
        except grpc.aio.AioRpcError as error:
            raise self._unavailable(f"does not register this worker: {_words(error)}") from None
        if not ack.success:
            raise self._unavailable(f"refuses this worker: {ack.message[:1000]}")
        self.pinged()

    async def _until_lost(self, channel: grpc.aio.Channel) -> None:
        """Raises: Unavailable."""
        lost = asyncio.ensure_future(channel.wait_for_state_change(grpc.ChannelConnectivity.READY))
        try:
            while not (await asyncio.wait({lost}, timeout=PROBE_INTERVAL))[0]:
                await self._probe(channel)
        finally:
            lost.cancel()
        raise self._unavailable("has ended its connection")

    async def _probe(self, channel: grpc.aio.Channel) -> None:
        """Raises: Unavailable."""
        if asyncio.get_running_loop().time() - self._heard_at > SILENCE:
            raise self._unavailable(f"has not called this worker for {SILENCE:g} s")
        try:
            answer = await _method(channel, "Ping", ProbeRequest, ProbeResponse)(
                ProbeRequest(id=self.info.id), timeout=CALL_LIMIT
            )
        except grpc.aio.AioRpcError as error:
            if error.code() in _GONE:
                raise self._unavailable(f"does not answer: {_words(error)}") from None
            return  # UNIMPLEMENTED by most: it is there, and says no more
        if not answer.healthy:
            raise self._unavailable("does not count this worker as healthy")

    def _unavailable(self, what: str) -> Unavailable:
        return Unavailable(f"the orchestrator at {self.orchestrator} {what}")


def _method(channel: grpc.aio.Channel, name: str, request: Any, response: Any) -> Any:
    return channel.unary_unary(
        f"/{WORKER_SERVICE}/{name}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )


def _words(error: grpc.aio.AioRpcError) -> str:
    return f"{error.code().name}: {(error.details() or '')[:1000]}"


def _pauses() -> Iterator[float]:
    """Each a little shorter at random: the workers of an orchestrator must not all come at once after its restart."""
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311  no secret
        pause = min(2 * pause, LONGEST_PAUSE)
