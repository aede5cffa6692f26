"""Runs of several workers on one home, with real caches, an HTTP server, a store and a queue in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from taskrunner.bounded import BoundedCalls
from taskrunner.caches.folder_caches import FolderCaches
from taskrunner.content.artifact_origin import Artifacts
from taskrunner.content.provision import Content, ContentSource
from taskrunner.files.plain_folder import PlainFolder
from taskrunner.interfaces.platform import RunContext
from taskrunner.interfaces.source import SourceOptions
from taskrunner.model import MountSpec, RunKey, Task
from taskrunner.queues.memory import MemoryQueue
from taskrunner.testing import MemoryLog, MemoryStore
from tests.support.file_server import FileServer, serving


@attrs.define
class Runs:
    """The runs of a home. Each has its own worker, with caches that only the disk connects to those of others."""

    home: Path
    store: MemoryStore = attrs.field(factory=MemoryStore)
    log: MemoryLog = attrs.field(factory=MemoryLog)
    options: SourceOptions = attrs.field(factory=SourceOptions)
    queue: MemoryQueue | None = None

    @property
    def caches(self) -> FolderCaches:
        return FolderCaches(self.home / "engine-caches", PlainFolder)

    def source(self) -> ContentSource:
        """That of one more run."""
        context = RunContext(
            Task("t", "any"),
            RunKey("t", 0),
            self.home,
            self.log,
            self.caches,
            lambda secret: secret.literal,
            lambda _: None,
            self.options,
        )
        return ContentSource(context, Artifacts(self.queue or MemoryQueue("w"), self.store, BoundedCalls()))

    async def provide(self, **mount: Any) -> Content:
        return await self.source().provide(MountSpec("target", **mount))

    def read(self, **mount: Any) -> bytes:
        """What one run finds in its mounted file."""

        async def reading() -> bytes:
            content = await self.provide(**mount)
            try:
                return content.path.read_bytes()
            finally:
                await content.release()

        return asyncio.run(reading())

    def kept(self) -> list[Path]:
        """The contents that are there, also those of a worker that died."""
        return sorted(self.home.glob("engine-caches/*/*/*"))


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "home")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as running:
        yield running


async def body(data: bytes) -> AsyncIterator[bytes]:
    yield data
