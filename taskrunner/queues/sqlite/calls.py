"""Calls of a ledger file from an event loop: in a thread, or at once.

A trip to a thread and back takes longer than a transaction that waits for no disk, because its file is on tmpfs or
because it only reads. So a call is made at once, in the loop's own thread, when all of the last `PROMPT_CALLS` took
less than `PROMPT`. On a disk that takes longer to sync, every resolution does, so that all calls go to the thread. A
disk that slows down blocks the loop for one call, as it does when a run's log and journal are written, also there. A
lock of another process is only ever waited for in the thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from threading import Lock
from typing import TypeVar

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.errors import Unavailable
from taskrunner.queues.ledger.database import Ledger
from taskrunner.queues.sqlite.file import LedgerFile, LockedByAnother

T = TypeVar("T")

CALL_LIMIT = 10.0
"""Seconds for one transaction, including the wait for the lock: a thousand times what one takes. A process that is
suspended in the middle of its own blocks all others until it is continued or killed."""

PROMPT = 0.001
"""Seconds: four times what a transaction takes without a disk, and less than the loop needs for a move of a run."""

PROMPT_CALLS = 8
"""A worker alternates claims, which need no sync, with resolutions, which do: some of each. With more of them, a busy
machine on which a call waits for a processor now and then is taken for a slow disk."""


@attrs.define(eq=False)
class LedgerCalls:
    """Performs operations on a file. Used from one event loop."""

    file: LedgerFile
    executor: Executor
    _prompt: int = 0
    """How many calls in a row were prompt."""
    _in_use: Lock = attrs.field(init=False, factory=Lock)
    """Held while the file is used: a call whose limit has passed may still be in its thread."""

    async def call(self, operation: Callable[[Ledger], T], discard: Callable[[T], None] | None = None) -> T:
        """The result of an operation; one that has come too late goes to `discard`, in the thread.

        Raises: Unavailable, and what `LedgerFile.perform` does.
        """
        if self._prompt >= PROMPT_CALLS:
            await asyncio.sleep(0)  # a caller of many does not keep the loop to itself
            try:
                return self._at_once(operation)
            except LockedByAnother:
                self._prompt = 0
        try:
            return await run_blocking(
                lambda: self.in_turn(operation),
                limit=CALL_LIMIT,
                doing="a transaction",
                discard=discard,
                executor=self.executor,
            )
        except OverLimit:
            raise Unavailable(f"{self.file.path} was locked by another process for {CALL_LIMIT:.0f} seconds") from None

    def _at_once(self, operation: Callable[[Ledger], T]) -> T:
        """Raises LockedByAnother, also when a call is in the thread."""
        if not self._in_use.acquire(blocking=False):
            raise LockedByAnother
        try:
            return self._perform(operation, wait=False)
        finally:
            self._in_use.release()

    def in_turn(self, operation: Callable[[Ledger], T]) -> T:
        """The result of an operation, in the thread that calls. Raises what `LedgerFile.perform` does."""
        with self._in_use:
            return self._perform(operation, wait=True)

    def _perform(self, operation: Callable[[Ledger], T], *, wait: bool) -> T:
        begin = time.monotonic()
        try:
            return self.file.perform(operation, wait=wait)
        finally:
            self._prompt = self._prompt + 1 if time.monotonic() - begin < PROMPT else 0
