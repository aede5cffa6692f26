"""One run with a source, without a worker: its context, log and caches."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs

from taskrunner.interfaces.platform import RunContext
from taskrunner.interfaces.source import SourceOptions
from taskrunner.model import RunKey, Source, Task
from taskrunner.testing import FakeCaches, MemoryLog
from taskrunner_source import checkout


@attrs.define
class SourceRun:
    """Runs one after the other, which share caches and log."""

    home: Path
    options: SourceOptions = attrs.field(default=SourceOptions().of_operator())
    log: MemoryLog = attrs.field(factory=MemoryLog)
    caches: FakeCaches = attrs.field(init=False)
    count: int = 0

    def __attrs_post_init__(self) -> None:
        self.caches = FakeCaches(self.home / "caches")

    @property
    def folder(self) -> Path:
        """Of the last run."""
        return self.home / f"run{self.count}"

    def context(self, source: Source | None) -> RunContext:
        """That of a new run."""
        self.count += 1
        self.folder.mkdir(parents=True)
        task, key = Task("t", "any", source=source), RunKey("t", self.count)
        reveal, progress = lambda secret: secret.literal, lambda _: None
        return RunContext(task, key, self.folder, self.log, self.caches, reveal, progress, self.options)

    def checkout(self, source: Source) -> str:
        return asyncio.run(self.checking_out(source))

    async def checking_out(self, source: Source) -> str:
        context = self.context(source)
        found = await checkout(context, context.folder)
        assert self.caches.leased == []
        return found
