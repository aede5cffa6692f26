"""AgentSource: the server of the Agent service."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import grpc
import grpc.aio

from taskrunner.errors import ClaimLost, MalformedPayload
from taskrunner.interfaces.push import Credits, Offer, OfferRefused, PushSource
from taskrunner.model import Submission
from taskrunner.queues.agent.messages import AGENT, InvocationRequest
from taskrunner.queues.agent.peer import AgentPeer
from taskrunner.queues.agent.services import add_services
from taskrunner.queues.listening import Listener
from taskrunner.queues.listening.grpc_messages import Context, read_request
from taskrunner.queues.listening.grpc_port import open_grpc_port
from taskrunner.queues.push.waiting_calls import WaitingCalls

log = logging.getLogger(__name__)

BUSY = "I am busy"
"""What a caller is told whose run finds no free slot."""

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
    calls = WaitingCalls(credits)

    async def run_fastlane(_: Any, context: Context) -> None:
        """The status of a call is always OK: how a run ended is in its messages."""
        peer = AgentPeer(context)
        with suppress(ClaimLost):  # the caller has hung up
            try:
                await _run(calls, submission(await read_request(context, InvocationRequest)), peer)
            except MalformedPayload as error:
                await peer.throw(str(error))

    # On the wire it is the same call as with one request. gRPC would wait for that one without a limit. Its responses
    # are bytes already.
    method: Any = grpc.stream_stream_rpc_method_handler(run_fastlane)
    return grpc.method_handlers_generic_handler(AGENT, {"RunFastlane": method})


async def _run(calls: WaitingCalls, submission: Submission, peer: AgentPeer) -> None:
    """One invocation, until its last message. Raises: ClaimLost."""
    outcome = await calls.offer(Offer(submission, peer))
    if isinstance(outcome, OfferRefused):
        await _refuse(outcome, peer)
    else:
        await calls.wait(outcome.run, peer.over.wait(), "the caller has hung up")


async def _refuse(refused: OfferRefused, peer: AgentPeer) -> None:
    if refused.reason == "malformed":  # no other agent would take it
        await peer.throw(refused.why)
    else:
        await peer.refuse(refused.reason, BUSY if refused.reason == "busy" else refused.why)
