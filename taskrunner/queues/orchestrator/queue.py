"""OrchestratorQueue: the jobs that a build orchestrator sends to its worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Self

from taskrunner.errors import Complaint
from taskrunner.interfaces.plugin import QueueContext
from taskrunner.model import Document
from taskrunner.queues.listening import Address, listen_complaints, open_listener
from taskrunner.queues.orchestrator.options import OrchestratorOptions
from taskrunner.queues.orchestrator.request import job_of
from taskrunner.queues.orchestrator.source import OrchestratorSource
from taskrunner.queues.orchestrator.target import parse_target
from taskrunner.queues.push.queue import PushQueue

SAMPLE: Document = {
    "platform": "docker",
    "source": {"repository": "https://sample.invalid"},
    "build": {"tags": ["sample"], "push": True},
}
"""A task as those of orchestrators are, but for what it builds."""


class OrchestratorQueue(PushQueue):
    """`orchestrator://HOST:PORT?port=PORT`: where the orchestrator listens, and at which port this worker does."""

    options = OrchestratorOptions

    @classmethod
    async def open(cls, options: OrchestratorOptions, context: QueueContext) -> Self:
        """Reads certificates and tokens. The port is opened when the worker has booted."""
        target = parse_target(context.url, context.environment)
        own = f"orchestrator://{Address(target.host, target.port)}"
        listener = await open_listener(own, options.listen, context, target.port)
        name = context.environment.get("WORKER_ID") or context.worker_id
        source = OrchestratorSource(
            target, listener, name, _region(context.environment), partial(job_of, options=options)
        )
        return cls(source, context.worker_id, context.home, SAMPLE)

    @classmethod
    def check_options(cls, options: OrchestratorOptions) -> Iterable[Complaint]:
        return listen_complaints(options.listen)


def _region(environment: Mapping[str, str]) -> str:
    return environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""
