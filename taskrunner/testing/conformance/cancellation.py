"""Cancels a call at each of the places where it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


async def cancelled_at_wait(call: Awaitable[T], number: int) -> T:
    """Awaits a call, and cancels the current task when the call waits for the n-th time, counted from 0. A call that
    waits less often returns its result."""
    return await _Counted(call, number)


class _Counted(Generic[T]):
    """An awaitable that passes on what another one yields: each yield is one wait."""

    def __init__(self, call: Awaitable[T], number: int) -> None:
        self._call, self._number = call, number

    def __await__(self) -> Generator[Any, Any, T]:
        waits, steps = 0, self._call.__await__()
        answer: Any = None
        failed: BaseException | None = None
        while True:
            try:
                future = steps.throw(failed) if failed else steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            if waits == self._number and (task := asyncio.current_task()):
                asyncio.get_running_loop().call_soon(task.cancel)
            waits += 1
            failed = None
            try:
                answer = yield future
            except BaseException as error:  # noqa: BLE001  it belongs to the call
                failed = error


__all__ = ["cancelled_at_wait"]
