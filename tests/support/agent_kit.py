"""A worker behind an agent's port, in this process, whose platform is a fake one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from taskrunner.interfaces.queue import Queue
from taskrunner.model import Document, Submission
from taskrunner.queues.agent.options import AgentOptions
from taskrunner.queues.agent.request import submission
from taskrunner.queues.agent.source import AgentSource
from taskrunner.queues.listening import Address, Listener
from taskrunner.queues.push.queue import PushQueue
from taskrunner.testing import PushClient
from taskrunner.testing.conformance.push_source.harness import PushSourceKit
from tests.support.agent_client import AgentClient
from tests.support.ports import free_port


class NamedTaskClient(AgentClient):
    """A request cannot hold a document of the fake platform: the source looks it up by the name of the program."""

    documents: dict[str, Document]

    async def dispatch(self, task_id: str, document: Document) -> None:
        self.documents[task_id] = document
        await super().dispatch(task_id, document)


class AgentKit(PushSourceKit):
    carries = frozenset({"refusals", "states", "log", "artifacts"})

    def queue(self, worker_id: str, home: Path) -> Queue:
        self.port = free_port()
        self.documents: dict[str, Document] = {}
        source = AgentSource(Listener(Address("127.0.0.1", self.port)), self.submission)
        return PushQueue(source, worker_id, home)

    def submission(self, request: Any) -> Submission:
        """Of a program that no test has named, the task that the agent makes."""
        if document := self.documents.get(request.command.bin):
            return Submission(request.command.bin, document)
        return submission(request, AgentOptions())

    async def connect(self) -> PushClient:
        client = await NamedTaskClient.connect(self.port)
        client.documents = self.documents
        return client
