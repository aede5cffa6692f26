"""A queue in one SQLite file, for all the processes of one machine: the embedded default.

Beside the file stand `<file>.lock`, which makes writers take turns, and `<file>.wake`, the sockets of those who wait.
The file has to be on a local disk, since its processes share memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from taskrunner.errors import Bug, Unavailable
from taskrunner.queues.ledger.claims import Grant
from taskrunner.queues.ledger.database import Canceled, Ledger, Wish
from taskrunner.queues.ledger.queue import LedgerQueue, give_back
from taskrunner.queues.sqlite.boottime import boottime
from taskrunner.queues.sqlite.executor import Clerk
from taskrunner.queues.sqlite.file import LedgerFile
from taskrunner.queues.sqlite.wakeup import Listener

T = TypeVar("T")

CALL_LIMIT = 10.0
"""Seconds for one transaction, waiting for others included: a thousand times what one takes. A process that was stopped
in the middle of its own holds up everybody until it goes on or is killed."""

CLOSE_LIMIT = 5.0
"""Seconds for the last call to end; the thread of one that is stuck is left behind."""


class SqliteQueue(LedgerQueue):
    """The queue in the file `path`, which is made when there is none (mode 0600, its folder 0700).

    `worker_id` says who claims; a submitter needs none. Nothing is opened before the first call. `clock` counts the
    seconds of leases for all processes alike; the tests have one that they can move.
    """

    def __init__(self, path: Path, worker_id: str, *, clock: Callable[[], float] = boottime) -> None:
        super().__init__(worker_id)
        self._file = LedgerFile(path, clock)
        self._clerk = Clerk(f"queue {path.name}")
        self._listeners: dict[Wish, Listener] = {
            "work": Listener(self._file.wake, "work", self._rung),
            "status": Listener(self._file.wake, "status", lambda _: self._changes.ring()),
        }
        self._closed = False

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for listener in self._listeners.values():
            listener.close()
        await asyncio.sleep(0)  # a claim that was cancelled just now hands in what it gives back
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT):
                await asyncio.get_running_loop().run_in_executor(self._clerk, self._file.close)
        self._clerk.shutdown(wait=False)

    async def _do(self, verb: Callable[[Ledger], T]) -> T:
        return await self._limited(self._hand_in(verb))

    async def _grant(self, verb: Callable[[Ledger], Grant]) -> Grant:
        granted: list[Grant] = []

        def granting(ledger: Ledger) -> Grant:
            granted.append(verb(ledger))
            return granted[0]

        try:
            return await self._do(granting)
        except (asyncio.CancelledError, Unavailable):  # the thread goes on; what it does next is to give back
            self._clerk.submit(self._file.perform, lambda ledger: give_back(ledger, granted))
            raise

    def _hand_in(self, verb: Callable[[Ledger], T]) -> asyncio.Future[T]:
        self._check_open()
        return asyncio.get_running_loop().run_in_executor(self._clerk, self._file.perform, verb)

    async def _limited(self, call: asyncio.Future[T]) -> T:
        try:
            async with asyncio.timeout(CALL_LIMIT):
                return await call
        except TimeoutError:
            raise Unavailable(f"{self._file.path} was locked by another process for {CALL_LIMIT:.0f} seconds") from None

    def _check_open(self) -> None:
        if self._closed:
            raise Bug("the queue was closed")

    def _hear_of(self, wish: Wish) -> None:
        self._check_open()
        self._listeners[wish].open()

    def _rung(self, canceled: Canceled | None) -> None:
        if canceled is None:
            self._work.ring()
        else:
            self._heard(canceled)
