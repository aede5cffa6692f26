"""The harness of the tests of platforms: opens a platform, takes runs from step to step, and checks what is left."""

from __future__ import annotations

import asyncio
import functools
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import attrs

from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.platform import Platform, PlatformContext, RunContext
from taskrunner.interfaces.results import Results
from taskrunner.model import RunKey, Task
from taskrunner.testing.conformance.contract import ContractChecker
from taskrunner.testing.conformance.script import Script
from taskrunner.testing.fakes.caches import FakeCaches
from taskrunner.testing.fakes.log import MemoryLog

Option = Literal["archive", "caches", "exec", "proxies", "recover", "services", "stdin"]
"""An operation that a platform may leave out. It then raises NotSupported, which is tested too."""

K = TypeVar("K", bound="PlatformKit")


class PlatformKit(ABC):
    """What the author of a platform defines."""

    supports: ClassVar[frozenset[Option]] = frozenset()
    """The optional operations that the platform has."""
    limit: ClassVar[float] = 120.0
    """Seconds that one test may take. Only a defect takes so long."""

    @abstractmethod
    async def open(self, context: PlatformContext) -> Platform[Any, Any]:
        """Opens the platform for a worker; once or twice in a test, with the same home and different worker ids."""

    @abstractmethod
    def payload(self, script: Script) -> Any:
        """The payload of a run that follows the script: often `MyPayload(command=["sh", "-c", script.shell])`."""

    async def alive(self) -> list[str]:
        """What is running now, of all runs: processes, containers. Called at moments when nothing may run. By default
        the tests rely on `clean_up_after`, which has to find nothing at the end of each test.
        """
        return []

    def run(self, scenario: Coroutine[Any, Any, None]) -> None:
        """Runs one test. A platform without processes and sockets may use `clock.run` instead."""
        asyncio.run(scenario)

    async def perform(self, test: Callable[[Any, PlatformHarness], Coroutine[Any, Any, None]], home: Path) -> None:
        """Runs one test on a new platform, releases what the test holds at its end, and checks that nothing is left."""
        async with asyncio.timeout(self.limit):
            harness = PlatformHarness(self, home)
            harness.platform = await harness.opened("w1")
            try:
                await test(self, harness)
            finally:
                await harness.release()
                await harness.platform.dispose()
            await harness.find_nothing()


def scenario(test: Callable[[K, PlatformHarness], Coroutine[Any, Any, None]]) -> Callable[[K, Path], None]:
    """Makes a test for pytest of a coroutine function that takes a harness."""

    def run_test(self: K, tmp_path: Path) -> None:
        self.run(self.perform(test, tmp_path))

    functools.update_wrapper(run_test, test)
    del run_test.__wrapped__  # type: ignore[attr-defined]  # pytest would read its arguments
    return run_test


class PlatformHarness:
    """One platform, open, and every run that a test makes on it."""

    platform: Platform[Any, Any]

    def __init__(self, kit: PlatformKit, home: Path) -> None:
        self.kit, self.home = kit, home
        self.caches = FakeCaches(home / "caches")
        self._checker = ContractChecker()
        self._trials: list[Trial] = []
        self._token = secrets.token_hex(4)

    def unique(self, name: str) -> str:
        """The id of a worker or a task: no other test has it, also none that runs on this machine at the same time."""
        return f"{name}-{self._token}"

    async def opened(self, worker: str) -> Platform[Any, Any]:
        context = PlatformContext(self.unique(worker), self.home, lambda secret: secret.literal)
        return self._checker.wrap(await self.kit.open(context), Platform)

    def trial(self) -> Trial:
        """A run before its engine is made."""
        number = len(self._trials)
        trial = Trial(self, RunKey(self.unique(f"task{number}"), 0), self.home / "runs" / str(number))
        trial.folder.mkdir(parents=True)
        self._trials.append(trial)
        return trial

    async def started(self, script: Script, env: Mapping[str, str] | None = None, *, stdin: bool = False) -> Trial:
        trial = self.trial()
        await trial.load(script)
        await trial.start(env or {}, stdin=stdin)
        return trial

    async def finished(self, script: Script, env: Mapping[str, str] | None = None) -> Trial:
        trial = await self.started(script, env)
        await trial.wait()
        return trial

    async def release(self) -> None:
        for trial in self._trials:
            await trial.release()

    async def find_nothing(self) -> None:
        """Asserts that neither `clean_up_after` nor the platform's own `alive` finds anything."""
        successor = await self.opened("successor")
        found = [line for worker in ("w1", "w2") for line in await successor.clean_up_after(self.unique(worker))]
        await successor.dispose()
        assert found == [], "something was left, though every engine, execution and result was released"
        assert await self.kit.alive() == []


@attrs.define
class Trial:
    """One run, and the object that holds its resources now, which is released at the end of the test."""

    harness: PlatformHarness
    key: RunKey
    folder: Path
    log: MemoryLog = attrs.field(factory=MemoryLog)
    engine: Engine[Any] = attrs.field(init=False)
    execution: Execution = attrs.field(init=False)
    results: Results = attrs.field(init=False)
    held: Engine[Any] | Execution | Results | None = None

    async def make(self) -> Engine[Any]:
        task = Task(self.key.task_id, self.harness.platform.name)
        context = RunContext(
            task, self.key, self.folder, self.log, self.harness.caches, lambda secret: secret.literal, lambda _: None
        )
        self.engine = await self.harness.platform.new_engine(context)
        self.held = self.engine
        return self.engine

    async def load(self, script: Script) -> Engine[Any]:
        payload = self.harness.kit.payload(script)
        self.harness.platform.check(payload)
        await self.make()
        await self.engine.load(payload)
        return self.engine

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        self.held = self.execution = await self.engine.start(env, stdin=stdin)
        return self.execution

    async def wait(self) -> Results:
        self.held = self.results = await self.execution.wait()
        return self.results

    async def kill(self) -> Results:
        self.held = self.results = await self.execution.kill()
        return self.results

    async def abort(self) -> None:
        await self.execution.abort()
        self.held = None

    async def release(self) -> None:
        """Releases the object that is held, as a worker does."""
        held, self.held = self.held, None
        if held is None:
            return
        if held is getattr(self, "results", None):
            await self.results.dispose()
        elif held is getattr(self, "execution", None):
            await self.execution.abort()
        else:
            await self.engine.discard()

    async def file(self, path: str) -> bytes:
        """The contents of one file of the results."""
        return await joined((await self.results.archive_file(path)).read())


async def joined(body: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in body])


__all__ = ["Option", "PlatformHarness", "PlatformKit", "Trial", "joined", "scenario"]
