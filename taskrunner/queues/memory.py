"""A queue in memory: the same ledger as the file's, in a database that ends with the process.

For tests and for embedding. Leases and delays go by `loop.time()`, so that a virtual clock moves them.
"""

from __future__ import annotations

import asyncio
import sqlite3
import weakref
from collections.abc import Callable
from typing import TypeVar

from taskrunner.queues.ledger.claims import Grant
from taskrunner.queues.ledger.database import Ledger, News
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

    async def _do(self, verb: Callable[[Ledger], T]) -> T:
        return verb(self._shared.ledger)

    async def _grant(self, verb: Callable[[Ledger], Grant]) -> Grant:
        return verb(self._shared.ledger)  # nothing is awaited between the grant and its taker: none is ever stranded

    def hear(self, news: News) -> None:
        """Wakes who waits here. Called by the ledger."""
        if news.work:
            self._work.ring()
        if news.status:
            self._changes.ring()
        for canceled in news.canceled:
            self._heard(canceled)


class _Shared:
    """What all members of a queue have in common."""

    def __init__(self) -> None:
        # Whichever thread happens to collect garbage closes it.
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.ledger = Ledger.over(db, _loop_time, "the queue in memory")
        self.ledger.tell = self._tell
        self.members: weakref.WeakSet[MemoryQueue] = weakref.WeakSet()
        weakref.finalize(self, db.close)

    def _tell(self, news: News) -> None:
        for member in tuple(self.members):
            member.hear(news)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
