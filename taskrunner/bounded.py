"""Calls to plugins, each with a limit of time that holds even if the call ignores its cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import attrs

from taskrunner.blocking import OverLimit
from taskrunner.errors import Bug

T = TypeVar("T")

CANCEL_LIMIT = 5.0
"""Seconds that a cancelled call has to undo what it has begun, before it is left behind."""


@attrs.define(eq=False)
class BoundedCalls:
    """The calls of one owner. Used from one event loop."""

    warn: Callable[[str], None] = lambda _: None
    _left: dict[asyncio.Task[Any], str] = attrs.field(init=False, factory=dict)
    """Calls that did not end when they were cancelled, with the name of their work."""

    async def call(
        self,
        work: Coroutine[Any, Any, T],
        *,
        limit: float | None,
        doing: str,
        last: Callable[[], float] | None = None,
    ) -> T:
        """Returns the result of `work`. Past its limit, or when the caller is cancelled, the call is cancelled and
        waited for. A call that does not end then is left behind with a warning; a late error of it is another warning.
        `doing` names the work in errors and warnings. Without a limit, only the caller ends the call. With `last`, the
        limit is for the time since the last progress, which `last` returns, on the loop's clock.

        Raises: OverLimit, and the errors of `work`.
        """
        call = asyncio.create_task(work, name=doing)
        try:
            done, _ = await asyncio.wait([call], timeout=limit)
            while not done and limit and last and (left := last() + limit - call.get_loop().time()) > 0:
                done, _ = await asyncio.wait([call], timeout=left)
        except asyncio.CancelledError:
            await self._end(call, doing)
            raise
        if not done:
            await self._end(call, doing)
            raise OverLimit(f"{doing} took longer than {limit:g} s")
        if call.cancelled():
            raise Bug(f"{doing} cancelled itself")
        return call.result()

    def hangs(self, doing: str) -> bool:
        """Whether a call of this name was left behind and has not ended yet: another one would hang too."""
        return doing in self._left.values()

    async def _end(self, call: asyncio.Task[Any], doing: str) -> None:
        call.cancel()
        try:
            await asyncio.wait([call], timeout=CANCEL_LIMIT)
        finally:
            if not call.done():
                self.warn(f"{doing} does not end: something may be left behind")
                self._left[call] = doing
            call.add_done_callback(self._ended)

    def _ended(self, call: asyncio.Task[Any]) -> None:
        doing = self._left.pop(call, "")
        if not call.cancelled() and (error := call.exception()) and doing:
            self.warn(f"{doing}: {type(error).__name__}: {error}")
