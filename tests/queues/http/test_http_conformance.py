"""The shipped kit over HTTP: workers have the queue of the server, and submitters are clients of its port.

The server checks each document, and those of the kit are no tasks: they travel as the metadata of a task, which is what
a client sees of a document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from taskrunner.config.config import Config
from taskrunner.config.opening import queue_context
from taskrunner.interfaces.plugin import PluginContext
from taskrunner.model import Claim, Secret, Submission, TaskStatus
from taskrunner.queues.http.options import HttpOptions
from taskrunner.queues.http.remote.client import HttpSubmitter
from taskrunner.queues.sqlite.queue import SqliteQueue
from taskrunner.testing import FakePlatform
from taskrunner.testing.conformance.queue.conformance import QueueConformance
from tests.support.http_server import TOKEN, http_server, reveal


class KitQueue(SqliteQueue):
    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        claims = await super().claim(n, lease=lease, wait=wait)
        return [attrs.evolve(claim, document=claim.document["metadata"]) for claim in claims]


class KitSubmitter(HttpSubmitter):
    async def submit(self, submission: Submission) -> bool:
        document = {"platform": "fake", "metadata": dict(submission.document)}
        if "resources" in submission.document:
            document["resources"] = submission.document["resources"]
        return await super().submit(attrs.evolve(submission, document=document))

    def _status(self, view: Any) -> TaskStatus:
        status = super()._status(view)
        submission = attrs.evolve(status.submission, document=view.metadata)
        return attrs.evolve(status, submission=submission)


class TestHttpQueue(QueueConformance):
    @pytest.fixture(autouse=True)
    def _server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr("taskrunner.queues.http.queue.platforms", lambda: {"fake": FakePlatform})
        self.home = tmp_path
        with http_server(tmp_path) as self.server:
            yield

    def worker(self, worker_id: str) -> SqliteQueue:
        return KitQueue(self.home / "queue.db", worker_id)

    def submitter(self) -> HttpSubmitter:
        context = queue_context(Config(queue=self.server.url), PluginContext("", self.home, reveal), self.server.url)
        return KitSubmitter.of(HttpOptions(token=Secret(literal=TOKEN)), context)
