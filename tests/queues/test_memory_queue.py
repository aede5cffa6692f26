from collections.abc import Coroutine
from typing import Any

import pytest

from taskrunner.queues.memory import MemoryQueue
from taskrunner.testing import clock
from taskrunner.testing.conformance.queue.conformance import QueueConformance


class TestMemoryQueue(QueueConformance):
    @pytest.fixture(autouse=True)
    def _queue(self) -> None:
        self.queue = MemoryQueue()

    def worker(self, worker_id: str) -> MemoryQueue:
        return self.queue.join(worker_id)

    def submitter(self) -> MemoryQueue:
        return self.queue.join("")

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        clock.run(main)
