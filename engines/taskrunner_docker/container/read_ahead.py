"""Reading a stream ahead of what uses it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")

STEPS = 4
"""Steps that are read ahead. Docker keeps little more than 200 KiB for a reader that is busy elsewhere, and waits: on a
busy machine for the event loop's turn, after each step."""


class ReadAhead(Generic[T]):
    """Steps of reading, which begin in their order. Used by one reader."""

    def __init__(self, step: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """`step` is called again while the step before is performed, whose executor keeps their order; and STEPS times
        more after the end of the stream, or an error."""
        self._step, self._ahead = step, deque[asyncio.Task[T]]()

    async def next(self) -> T:
        """The result of the next step. Raises what the step raises."""
        while len(self._ahead) < STEPS:
            self._ahead.append(asyncio.create_task(self._step()))
        return await self._ahead.popleft()

    async def end(self) -> None:
        """Ends what is read ahead. A second call does nothing."""
        for step in self._ahead:
            step.cancel()
        await asyncio.gather(*self._ahead, return_exceptions=True)
        self._ahead.clear()
