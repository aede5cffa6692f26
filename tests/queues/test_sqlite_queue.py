import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from taskrunner.queues.sqlite.queue import SqliteQueue
from taskrunner.testing import clock
from taskrunner.testing.conformance.queue.conformance import QueueConformance


class TestSqliteQueue(QueueConformance):
    """In virtual time: the leases go by a clock that freezegun moves, and each object has its own connection."""

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.path = tmp_path / "queue.db"

    def worker(self, worker_id: str) -> SqliteQueue:
        return SqliteQueue(self.path, worker_id, clock=lambda: time.monotonic())  # noqa: PLW0108  looked up when frozen

    def submitter(self) -> SqliteQueue:
        return self.worker("")

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        clock.run(main)
