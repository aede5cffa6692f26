"""AgentSource: the server of the Agent service."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import grpc
import grpc.aio

from taskrunner.errors import ClaimLost, MalformedPayload
from taskrunner.interfaces.push import Credits, Offer, OfferRefused, PushSource, Taken
from taskrunner.model import Submission
from taskrunner.queues.agent.messages import AGENT, InvocationRequest
from taskrunner.queues.agent.peer import AgentPeer
from taskrunner.queues.agent.services import add_services
from taskrunner.queues.listening import Listener
from taskrunner.queues.listening.grpc_messages import Context, read_request
from taskrunner.queues.listening.grpc_port import open_grpc_port

log = logging.getLogger(__name__)

BUSY = "I am busy"
"""What a caller is told whose run finds no free slot."""

SLOT_WAIT, LOOK_AGAIN = 10.0, 0.01
"""Seconds for the slot of a run to be free that has its answer, or whose caller has hung up, and between two looks. Its
processes end meanwhile: a caller that sends one build after the other is not told that the agent is busy with the last.
"""

HANG_UP = 0.25
"""Seconds in which a hang-up may still come behind the next call of the same caller: gRPC reports them in any order."""

STOP_LIMIT = 2.0
"""Seconds for the last messages to leave when the worker ends."""


@attrs.define(eq=False)
class AgentSource(PushSource):
    """Serves callers at one port. `submission` makes a task of a request, or raises MalformedPayload."""

    listener: Listener
    submission: Callable[[Any], Submission]

    async def serve(self, credits: Credits) -> None:  # noqa: A002  the interface's word
        opened = open_grpc_port(self.listener)
        server = opened.server
        server.add_generic_rpc_handlers((agent_handler(credits, self.submission),))
        health = add_services(server, credits)
        await server.start()
        if exposure := self.listener.exposure:
            log.warning(exposure)
        try:
            await health.keep_fresh()
        finally:
            await server.stop(STOP_LIMIT)


def agent_handler(credits: Credits, submission: Callable[[Any], Submission]) -> grpc.GenericRpcHandler:  # noqa: A002
    """The Agent service."""
    invocations = Invocations(credits)

    async def run_fastlane(_: Any, context: Context) -> None:
        """The status of a call is always OK: how a run ended is in its messages."""
        peer = AgentPeer(context)
        with suppress(ClaimLost):  # the caller has hung up
            try:
                await invocations.run(submission(await read_request(context, InvocationRequest)), peer)
            except MalformedPayload as error:
                await peer.throw(str(error))

    # On the wire it is the same call as with one request. gRPC would wait for that one without a limit. Its responses
    # are bytes already.
    method: Any = grpc.stream_stream_rpc_method_handler(run_fastlane)
    return grpc.method_handlers_generic_handler(AGENT, {"RunFastlane": method})


@attrs.define(eq=False)
class Invocations:
    """Those of one agent."""

    credits: Credits
    _open: int = 0
    """Runs whose callers wait for more."""

    async def run(self, submission: Submission, peer: AgentPeer) -> None:
        """One invocation, until its last message. A call that is cancelled, or whose connection ends, ends its run.

        Raises: ClaimLost, MalformedPayload.
        """
        outcome = await self._offer(Offer(submission, peer))
        if isinstance(outcome, OfferRefused):
            await _refuse(outcome, peer)
            return
        self._open += 1
        try:
            await peer.over.wait()
        except asyncio.CancelledError:
            self.credits.withdraw(outcome.run, canceled=False, why="the caller has hung up")
            raise
        finally:
            self._open -= 1

    async def _offer(self, offer: Offer) -> Taken | OfferRefused:
        """Again while a slot is about to be free."""
        began = time.monotonic()
        while isinstance(outcome := self.credits.offer(offer), OfferRefused):
            limit = SLOT_WAIT if self._open < self.credits.capacity else HANG_UP
            if outcome.reason != "busy" or time.monotonic() - began > limit:
                break
            await asyncio.sleep(LOOK_AGAIN)
        return outcome


async def _refuse(refused: OfferRefused, peer: AgentPeer) -> None:
    if refused.reason == "malformed":  # no other agent would take it
        await peer.throw(refused.why)
    else:
        await peer.refuse(refused.reason, BUSY if refused.reason == "busy" else refused.why)
