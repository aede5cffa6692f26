"""What a worker serves: JobService, and reflection."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection, reflection_pb2

from taskrunner.errors import ClaimLost, MalformedPayload
from taskrunner.interfaces.push import Credits, Offer, OfferRefused
from taskrunner.queues.listening.grpc_messages import Context, read_request
from taskrunner.queues.orchestrator.messages import (
    JOB_SERVICE,
    POOL,
    JobRequest,
    JobResponse,
    JobServiceStatus,
    PingResponse,
)
from taskrunner.queues.orchestrator.peer import OrchestratorPeer
from taskrunner.queues.orchestrator.request import OrchestratorJob, failed_step
from taskrunner.queues.orchestrator.steps import ImageStep, failure
from taskrunner.queues.push.waiting_calls import WaitingCalls

POOL.AddSerializedFile(reflection_pb2.DESCRIPTOR.serialized_pb)

HUNG_UP = "the orchestrator has cancelled the call, or the deadline of the call is over"


@attrs.define(eq=False)
class JobService:
    """The calls of an orchestrator."""

    worker_id: str
    job_of: Callable[[Any], OrchestratorJob]
    """Makes a job of a request, or raises MalformedPayload."""
    credits: Credits
    pinged: Callable[[], None]
    """Is called at each Ping."""
    _calls: WaitingCalls = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._calls = WaitingCalls(self.credits)

    async def ping(self, _: bytes, __: Context) -> Any:
        """BUSY also while the worker is stopping or its machine is not fit: it would take no job."""
        self.pinged()
        status = JobServiceStatus.FREE if self.credits.free else JobServiceStatus.BUSY
        return PingResponse(workerId=self.worker_id, status=status)

    async def run_job(self, _: Any, context: Context) -> None:
        try:
            request = await read_request(context, JobRequest)
        except MalformedPayload as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        peer = OrchestratorPeer(context, request.jobId)
        with suppress(ClaimLost):  # the orchestrator has hung up
            await self._run(request, peer)

    async def _run(self, request: Any, peer: OrchestratorPeer) -> None:
        """One job, to its end. Raises: ClaimLost."""
        try:
            job = self.job_of(request)
        except MalformedPayload as error:
            await peer.fail(failure(failed_step(error.complaints), str(error)))
            return
        peer.expect(aws=job.aws)
        outcome = await self._calls.offer(Offer(job.submission, peer))
        if isinstance(outcome, OfferRefused):
            await _refuse(outcome, peer)
            await peer.finish()
        else:
            await self._calls.wait(outcome.run, peer.finish(), HUNG_UP)


async def _refuse(refused: OfferRefused, peer: OrchestratorPeer) -> None:
    if refused.reason == "malformed":  # no other worker would take it
        await peer.fail(failure(ImageStep.BUILD, refused.why))
    else:
        await peer.refuse(refused.reason, refused.why)


def add_services(server: grpc.aio.Server, service: JobService) -> None:
    """Before the start of the server."""
    run_job: Any = grpc.stream_stream_rpc_method_handler(
        service.run_job, response_serializer=JobResponse.SerializeToString
    )
    ping: Any = grpc.unary_unary_rpc_method_handler(service.ping, response_serializer=PingResponse.SerializeToString)
    methods = {"RunJob": run_job, "Ping": ping}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(JOB_SERVICE, methods),))
    reflection.enable_server_reflection((JOB_SERVICE, reflection.SERVICE_NAME), server, POOL)
