"""The simplest engine: a coroutine, for work that Python does itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Self
from weakref import WeakSet

import attrs

from taskrunner.errors import Bug, NotSupported
from taskrunner.files.results import FolderResults
from taskrunner.interfaces.engine import Engine, Payload
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.platform import Platform, PlatformContext, RunContext
from taskrunner.interfaces.plugin import NoOptions
from taskrunner.interfaces.results import Results

KILLED = 137
"""The exit code of a coroutine that was stopped: that of a process that was killed, in a shell."""


def coroutine_platform(
    name: str, payload: type[Payload]
) -> Callable[[Callable[[Payload, RunContext], Awaitable[int]]], type[Platform[Payload, NoOptions]]]:
    """Makes a platform of a coroutine function, whose result is the run's exit code.

    The function gets the decoded payload, an instance of the attrs class `payload`, and the run's context. Files that
    it leaves in `context.folder` can be kept as artifacts. It is cancelled when the run is killed, and undoes in its
    `finally` what it has begun. An error of `taskrunner.errors` that it raises decides how the run ends.
    """

    def decorate(work: Callable[[Payload, RunContext], Awaitable[int]]) -> type[Platform[Payload, NoOptions]]:
        members = {"name": name, "payload": payload, "options": NoOptions, "work": staticmethod(work)}
        return type(f"{work.__name__.title()}Platform", (CoroutinePlatform,), {**members, "__doc__": work.__doc__})

    return decorate


class CoroutinePlatform(Platform[Payload, NoOptions]):
    """The base class of the platforms that `coroutine_platform` makes."""

    work: Callable[[Payload, RunContext], Awaitable[int]]

    @classmethod
    async def open(cls, options: NoOptions, context: PlatformContext) -> Self:  # noqa: ARG003  it needs neither
        return cls()

    def __init__(self) -> None:
        self._running: WeakSet[asyncio.Future[int]] = WeakSet()

    async def new_engine(self, context: RunContext) -> Engine[Payload]:
        return CoroutineEngine(self.work, context, self._running)

    async def dispose(self) -> None:
        """Ends what still runs: nothing else would, since a coroutine lives in this process."""
        left = [each for each in self._running if not each.done()]
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class CoroutineEngine(Engine[Payload]):
    """One call of the coroutine, not begun."""

    _payload: Payload

    def __init__(
        self,
        work: Callable[[Payload, RunContext], Awaitable[int]],
        context: RunContext,
        running: WeakSet[asyncio.Future[int]],
    ) -> None:
        self._work, self._context, self._running = work, context, running

    async def load(self, payload: Payload) -> None:
        self._payload = payload

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        if stdin:
            raise NotSupported("a coroutine has no standard input")
        context = attrs.evolve(self._context, task=attrs.evolve(self._context.task, env=env))
        running = asyncio.ensure_future(self._work(self._payload, context))
        self._running.add(running)
        return CoroutineExecution(running, context)

    async def discard(self) -> None:
        """It holds nothing."""


class CoroutineExecution(Execution):
    """The coroutine as it runs."""

    def __init__(self, running: asyncio.Future[int], context: RunContext) -> None:
        self._context, self._running = context, running
        self._results: Results | None = None
        self._aborted = False

    async def wait(self) -> Results:
        await asyncio.wait([self._running])
        if self._aborted:
            raise Bug("a coroutine that was aborted cannot be waited for")
        if self._results is None:
            self._results = self._ended()
        return self._results

    async def kill(self) -> Results:
        self._running.cancel()
        return await self.wait()

    async def abort(self) -> None:
        self._aborted = True
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    def _ended(self) -> Results:
        """Raises what the coroutine raised."""
        folder, log = self._context.folder, self._context.log
        if self._running.cancelled():
            return FolderResults(folder, log, KILLED, message="it was stopped")
        return FolderResults(folder, log, self._running.result())
