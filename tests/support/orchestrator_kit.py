"""A worker of an orchestrator, in this process, whose platform is a fake one. Its orchestrator is the example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from taskrunner.interfaces.queue import Queue
from taskrunner.model import Document, Submission
from taskrunner.queues.listening import Address, Listener
from taskrunner.queues.orchestrator.options import OrchestratorOptions
from taskrunner.queues.orchestrator.request import OrchestratorJob, job_of
from taskrunner.queues.orchestrator.source import OrchestratorSource
from taskrunner.queues.orchestrator.target import OrchestratorTarget
from taskrunner.queues.push.queue import PushQueue
from taskrunner.testing import PushClient
from taskrunner.testing.conformance.push_source.harness import PushSourceKit
from tests.support.orchestrator_client import OrchestratorClient
from tests.support.ports import free_port


class NamedTaskClient(OrchestratorClient):
    """A job cannot hold a document of the fake platform: the source looks it up by the id of the job."""

    documents: dict[str, Document]

    async def dispatch(self, task_id: str, document: Document) -> None:
        self.documents[task_id] = document
        await super().dispatch(task_id, document)


class OrchestratorKit(PushSourceKit):
    carries = frozenset({"refusals"})

    orchestrator = Address("127.0.0.1", 1)
    """By default there is none."""

    def queue(self, worker_id: str, home: Path) -> Queue:
        self.port = free_port()
        self.documents: dict[str, Document] = {}
        target = OrchestratorTarget(self.orchestrator, "", self.port)
        listener = Listener(Address("127.0.0.1", self.port))
        source = OrchestratorSource(target, listener, worker_id, "eu-west-1", self.job_of)
        return PushQueue(source, worker_id, home)

    def job_of(self, request: Any) -> OrchestratorJob:
        """Of an id that no test has named, the task that the worker makes."""
        if document := self.documents.get(request.jobId):
            return OrchestratorJob(Submission(request.jobId, document))
        job = job_of(request, OrchestratorOptions())
        document = {"platform": "fake", "env": {"BRANCH": request.branch}}
        return attrs.evolve(job, submission=attrs.evolve(job.submission, document=document))

    async def connect(self) -> PushClient:
        client = await NamedTaskClient.connect(self.port)
        client.documents = self.documents
        return client
