"""A limit of time for each test, which also ends what ignores its cancellation, or blocks the thread of the loop.

After the limit the test's coroutine is cancelled, and has as much time again to release what it holds. Code that still
runs then is interrupted by an exception in the main thread, again and again until the test is left.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Never

import pytest

INTERVAL = 0.5
"""Seconds between two interruptions."""


class OutOfTime(BaseException):
    """Raised in the main thread of a test that cannot be cancelled. No `except Exception` of a plugin catches it."""


class TimeLimit:
    """The limit of one test. `explain` says what the test waits for; it is called once, when the limit has passed."""

    def __init__(self, seconds: float, explain: Callable[[], str]) -> None:
        self.seconds, self._explain = seconds, explain
        self._failure = ""

    async def hold(self, main: Coroutine[Any, Any, None]) -> None:
        """Awaits a test. Fails it, and cancels what it does, when it takes longer."""
        test = asyncio.ensure_future(main)
        done, _ = await asyncio.wait([test], timeout=self.seconds)
        if not done:
            self._record()
            test.cancel()
            await asyncio.wait([test], timeout=self.seconds)
            with suppress(asyncio.CancelledError, Exception):
                _ = test.done() and test.result()
            pytest.fail(self._failure)
        test.result()

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Interrupts the block in real time, if it has not ended long after the limit."""
        try:
            with _alarm(2 * self.seconds + 1, self._interrupt):
                yield
        except OutOfTime:
            pytest.fail(self._failure)

    def _interrupt(self) -> Never:
        self._record()
        raise OutOfTime

    def _record(self) -> None:
        self._failure = self._failure or f"the test did not end within {self.seconds:g} s\n{self._explain()}"


@contextmanager
def _alarm(seconds: float, ring: Callable[[], Never]) -> Iterator[None]:
    """Calls `ring` after so many seconds, and then every INTERVAL. Only the main thread of a POSIX system can do it."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        ring()

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, seconds, INTERVAL)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


__all__ = ["OutOfTime", "TimeLimit"]
