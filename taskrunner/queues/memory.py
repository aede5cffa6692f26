"""A queue in memory: the same ledger as the file's, in a database that ends with its last queue.

For tests and for embedding. Leases and delays go by `loop.time()`, so that a virtual clock moves them.
"""

from __future__ import annotations

import asyncio
import sqlite3
import weakref
from collections.abc import Callable
from typing import TypeVar

from taskrunner.queues.ledger.claims import Grant
from taskrunner.queues.ledger.database import Changes, Ledger
from taskrunner.queues.ledger.queue import LedgerQueue

T = TypeVar("T")


class MemoryQueue(LedgerQueue):
    """Workers and submitters share one by `join`, each worker under its own name. Used from one event loop."""

    def __init__(self, worker_id: str = "memory", *, same_as: MemoryQueue | None = None) -> None:
        super().__init__(worker_id)
        self._shared: _Shared = same_as._shared if same_as else _Shared()  # noqa: SLF001  of the same class
        self._shared.members.add(self)

    def join(self, worker_id: str) -> MemoryQueue:
        """The same queue for another worker, or for a submitter."""
        return MemoryQueue(worker_id, same_as=self)

    async def _do(self, operation: Callable[[Ledger], T]) -> T:
        return operation(self._shared.ledger)

    async def _grant(self, operation: Callable[[Ledger], Grant]) -> Grant:
        return operation(self._shared.ledger)  # without an await, its caller cannot be cancelled

    def publish(self, changes: Changes) -> None:
        """Wakes the waiters of this queue. Called after each transaction."""
        if changes.work:
            self._wakeups["work"].wake()
        if changes.status:
            self._wakeups["status"].wake()
        for canceled in changes.canceled:
            self._publish_canceled(canceled)


class _Shared:
    """The database of a queue, and its members."""

    def __init__(self) -> None:
        # The garbage collector may close it in any thread.
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.ledger = Ledger.open(db, _loop_time, "the queue in memory")
        self.ledger.publish = self._publish
        self.members: weakref.WeakSet[MemoryQueue] = weakref.WeakSet()
        weakref.finalize(self, db.close)

    def _publish(self, changes: Changes) -> None:
        for member in tuple(self.members):
            member.publish(changes)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
