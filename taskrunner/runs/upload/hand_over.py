"""Handing over: the artifacts and the log of a run, copied from the worker's own store to where its peer expects
them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from taskrunner.blocking import OverLimit
from taskrunner.bounded import BoundedCalls
from taskrunner.errors import ClaimLost, Unavailable
from taskrunner.interfaces.artifacts import LOG_NAME, ArtifactStore, Missing
from taskrunner.model import Artifact, RunKey
from taskrunner.runs.upload.artifact_upload import DELAYS

STALL_LIMIT = 300.0
"""Seconds for which a store may take nothing: it may be sending a part of a hundred megabytes before it asks for
more."""

Put = Callable[[], Coroutine[Any, Any, object]]


class _Stalled(Unavailable):
    """The peer takes nothing any more: it would not take the log either."""


@attrs.define(eq=False)
class HandOver:
    """One run's copy. The worker's own store has everything before, so a peer that fails loses nothing but its copy."""

    own: ArtifactStore
    theirs: ArtifactStore
    run: RunKey
    calls: BoundedCalls
    _last: float = attrs.field(init=False, default=0.0)
    """When the peer took something last, on the loop's clock."""

    async def copy(self, log: Path, missing: Sequence[Missing] = ()) -> None:
        """Copies each artifact, tells what is missing, up to the first one that is not taken; then copies the log, in
        any case: whoever looks for the reason reads it.

        Raises: ClaimLost (the peer is gone), Unavailable (the text says what was not taken first, and why).
        """
        try:
            for artifact in await self.own.list(self.run):
                await self._give(artifact.name, partial(self._put, artifact))
            for each in missing:
                await self._give(each.name, partial(self.theirs.put_missing, self.run, each))
        except _Stalled:
            raise
        except Unavailable:
            with suppress(Unavailable):
                await self.copy_log(log)
            raise
        await self.copy_log(log)

    async def copy_log(self, log: Path) -> None:
        """Copies the log alone. Same errors."""
        await self._give(LOG_NAME, partial(self.theirs.put_log, self.run, log))

    async def _give(self, name: str, put: Put) -> None:
        try:
            await self._give_again(name, put)
        except ClaimLost:
            raise
        except OverLimit:
            raise _Stalled(f"its peer has not taken {name} any further for {STALL_LIMIT:g} s") from None
        except Exception as error:
            why = str(error) or type(error).__name__
            raise Unavailable(f"its peer has not taken {name}: {why}") from error

    async def _give_again(self, name: str, put: Put) -> None:
        for delay in DELAYS:
            try:
                return await self._give_once(name, put)
            except Unavailable as error:
                await asyncio.sleep(max(delay, error.retry_after or 0))
        return await self._give_once(name, put)

    async def _give_once(self, name: str, put: Put) -> None:
        self._last = asyncio.get_running_loop().time()
        await self.calls.call(put(), limit=STALL_LIMIT, doing=f"handing over {name}", last=lambda: self._last)

    async def _put(self, artifact: Artifact) -> None:
        await self.theirs.put(
            self.run,
            artifact.name,
            self._body(artifact.name),
            size=artifact.size,
            content_type=artifact.content_type,
            expires=artifact.expires,
        )

    async def _body(self, name: str) -> AsyncIterator[bytes]:
        async for chunk in self.own.get(self.run, name):
            self._last = asyncio.get_running_loop().time()
            yield chunk
