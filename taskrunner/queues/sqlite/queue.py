"""A queue in one SQLite file, for all the processes of one machine: the embedded default.

Beside the file stand `<file>.lock`, which makes writers take turns, and `<file>.wake`, the sockets of waiting
processes. The file has to be on a local disk: its processes share memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from taskrunner.blocking import DaemonExecutor, OverLimit, run_blocking
from taskrunner.errors import Bug, TaskrunnerError, Unavailable
from taskrunner.queues.ledger.claims import Grant
from taskrunner.queues.ledger.database import Canceled, Ledger, Topic
from taskrunner.queues.ledger.queue import LedgerQueue, release_grant
from taskrunner.queues.sqlite.boottime import boottime
from taskrunner.queues.sqlite.file import LedgerFile
from taskrunner.queues.sqlite.wakeup_sockets import WakeupReceiver

T = TypeVar("T")

CALL_LIMIT = 10.0
"""Seconds for one transaction, including the wait for the lock: a thousand times what one takes. A process that is
suspended in the middle of its own blocks all others until it is continued or killed."""

CLOSE_LIMIT = 5.0
"""Seconds for closing the file, including the last call. A thread that hangs is left behind."""


class SqliteQueue(LedgerQueue):
    """The queue in the file `path`, which is made when it is missing (mode 0600, its folder 0700).

    `worker_id` is the holder of claims; a submitter needs none. Nothing is opened before the first call. `clock` counts
    the seconds of leases for all processes alike; tests pass one that they can move.
    """

    def __init__(self, path: Path, worker_id: str, *, clock: Callable[[], float] = boottime) -> None:
        super().__init__(worker_id)
        self._file = LedgerFile(path, clock)
        self._executor = DaemonExecutor(f"queue {path.name}", size=1)
        self._receivers: dict[Topic, WakeupReceiver] = {
            "work": WakeupReceiver(self._file.wake, "work", self._on_work, self._executor),
            "status": WakeupReceiver(self._file.wake, "status", self._on_status, self._executor),
        }
        self._closed = False

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for receiver in self._receivers.values():
            receiver.close()
        await asyncio.sleep(0)  # a claim that was cancelled just now releases what was granted
        with suppress(OverLimit):
            await run_blocking(self._close_files, limit=CLOSE_LIMIT, doing="closing the queue", executor=self._executor)
        self._executor.shutdown()

    def _close_files(self) -> None:
        for receiver in self._receivers.values():
            receiver.remove()
        self._file.close()

    async def _do(self, operation: Callable[[Ledger], T]) -> T:
        return await self._call(operation, None)

    async def _grant(self, operation: Callable[[Ledger], Grant]) -> Grant:
        return await self._call(operation, self._release)

    async def _call(self, operation: Callable[[Ledger], T], discard: Callable[[T], None] | None) -> T:
        self._check_open()
        try:
            return await run_blocking(
                lambda: self._file.perform(operation),
                limit=CALL_LIMIT,
                doing="a transaction",
                discard=discard,
                executor=self._executor,
            )
        except OverLimit:
            raise Unavailable(f"{self._file.path} was locked by another process for {CALL_LIMIT:.0f} seconds") from None

    def _release(self, grant: Grant) -> None:
        """Releases claims whose caller was cancelled, in the file's thread. Otherwise their leases run out."""
        with suppress(TaskrunnerError):
            self._file.perform(lambda ledger: release_grant(ledger, grant))

    def _check_open(self) -> None:
        if self._closed:
            raise Bug("the queue was closed")

    async def _subscribe(self, topic: Topic) -> None:
        self._check_open()
        await self._receivers[topic].open()

    def _on_work(self, canceled: Canceled | None) -> None:
        if canceled is None:
            self._wakeups["work"].wake()
        else:
            self._publish_canceled(canceled)

    def _on_status(self, _: Canceled | None) -> None:
        self._wakeups["status"].wake()
