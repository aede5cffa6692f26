"""Trial: one run of a test, from its engine to its results."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from taskrunner.amounts import Amounts
from taskrunner.errors import TaskFailedInternally
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.execution import Execution, Input
from taskrunner.interfaces.log import LogStream
from taskrunner.interfaces.platform import Platform, RunContext
from taskrunner.interfaces.results import Results
from taskrunner.model import RunKey, Task
from taskrunner.testing.conformance.contract import ContractChecker
from taskrunner.testing.conformance.measures import MEBIBYTE
from taskrunner.testing.conformance.platform.script import Script
from taskrunner.testing.fakes.log import MemoryLog

if TYPE_CHECKING:
    from taskrunner.testing.conformance.platform.harness import PlatformHarness


class TrialLog(MemoryLog):
    """A log whose `until` is known to the limit of time, and whose disk can be full."""

    def __init__(self, checker: ContractChecker) -> None:
        super().__init__()
        self._checker, self.full = checker, False

    def write(self, data: bytes, stream: LogStream = "stdout") -> None:
        if self.full:
            raise TaskFailedInternally("the disk is full")
        super().write(data, stream)

    async def until(self, text: str) -> None:
        contract = "Its output goes to the run's log as it comes, not through this object."
        with self._checker.expecting(f"the log has no {text!r}. The contract of Execution:\n    {contract}"):
            await super().until(text)


@attrs.define
class Trial:
    """One run, and the object that holds its resources now, which is released at the end of the test."""

    harness: PlatformHarness
    platform: Platform[Any, Any]
    key: RunKey
    folder: Path
    resources: Amounts = attrs.field(factory=Amounts)
    """Of its task."""
    log: TrialLog = attrs.field(init=False)
    engine: Engine[Any] = attrs.field(init=False)
    execution: Execution = attrs.field(init=False)
    results: Results = attrs.field(init=False)
    held: Engine[Any] | Execution | Results | None = None

    def __attrs_post_init__(self) -> None:
        self.log = TrialLog(self.harness.kit.checker)

    async def make(self) -> Engine[Any]:
        self.engine = await self.platform.new_engine(self.context())
        self.held = self.engine
        return self.engine

    def context(self) -> RunContext:
        task = Task(self.key.task_id, self.platform.name, resources=self.resources)
        return RunContext(
            task,
            self.key,
            self.folder,
            self.log,
            self.harness.caches,
            lambda secret: secret.literal,
            lambda _: None,
            new_log=lambda _: TrialLog(self.harness.kit.checker),
        )

    async def load(self, script: Script) -> Engine[Any]:
        return await self.load_payload(self.harness.kit.payload(script))

    async def load_payload(self, payload: Any) -> Engine[Any]:
        self.platform.check(payload)
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


async def write_on(stdin: Input) -> None:
    """Writes several times: the first pieces may be on their way when the reader is gone."""
    for _ in range(10):
        await stdin.write(bytes(MEBIBYTE))


__all__ = ["Trial", "TrialLog", "joined", "write_on"]
