"""OrchestratorSource: a worker that is called by its orchestrator, once it has registered there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import attrs

from taskrunner.interfaces.push import Credits, PushSource
from taskrunner.queues.listening import Address, Listener
from taskrunner.queues.listening.grpc_port import open_grpc_port
from taskrunner.queues.orchestrator.messages import WorkerInfo
from taskrunner.queues.orchestrator.registration import Registration
from taskrunner.queues.orchestrator.request import OrchestratorJob
from taskrunner.queues.orchestrator.services import JobService, add_services
from taskrunner.queues.orchestrator.target import OrchestratorTarget, local_ip

log = logging.getLogger(__name__)

STOP_LIMIT = 2.0
"""Seconds for the last messages to leave when the worker ends."""


@attrs.define(eq=False)
class OrchestratorSource(PushSource):
    """Serves the orchestrator at one port. `listener` has the limits of the port, and who may connect."""

    target: OrchestratorTarget
    listener: Listener
    worker_id: str
    region: str
    job_of: Callable[[Any], OrchestratorJob]

    async def serve(self, credits: Credits) -> None:  # noqa: A002  the interface's word
        """Listens at the address by which this machine reaches the orchestrator, unless the URL names another one."""
        ip = await local_ip(self.target.orchestrator)
        listener = attrs.evolve(self.listener, address=Address(self.target.host or ip, self.target.port))
        opened = open_grpc_port(listener)
        named = ip if self.target.listens_everywhere else listener.address.host
        info = WorkerInfo(id=self.worker_id, ip=named, port=opened.port, region=self.region)
        registration = Registration(self.target.orchestrator, info)
        add_services(opened.server, JobService(self.worker_id, self.job_of, credits, registration.pinged))
        await opened.server.start()
        if exposure := listener.exposure:
            log.warning(exposure)
        try:
            await registration.keep()
        finally:
            await opened.server.stop(STOP_LIMIT)
