"""The harness of the tests of artifact stores: opens the store, puts and reads."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import ClassVar

from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.model import Artifact, RunKey
from taskrunner.testing.conformance.kit import ConformanceKit

RUN = RunKey("a-task", 0)


async def body(*chunks: bytes) -> AsyncIterator[bytes]:
    """A file that comes in pieces."""
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


class StoreKit(ConformanceKit, ABC):
    """What the author of a store defines."""

    limit: ClassVar[float] = 60.0
    in_memory: ClassVar[bool] = False
    """Whether the store keeps files in the memory of this process. Then it is not asked to stream large ones."""

    @abstractmethod
    def store(self) -> ArtifactStore:
        """Opens the test's store, which is empty at the begin of a test. Each call opens the same one."""

    async def kept_bytes(self) -> int | None:
        """Bytes that the store keeps now, of artifacts, of logs, and of uploads that nobody finishes. By default
        nobody knows, and the test that nothing is left of a failed upload is left out."""
        return None

    # ---- for the tests ----------------------------------------------------------------------------------

    def open(self) -> ArtifactStore:
        return self.checker.wrap(self.store(), ArtifactStore)

    @staticmethod
    async def read(store: ArtifactStore, run: RunKey, name: str, offset: int = 0) -> bytes:
        async with aclosing(store.get(run, name, offset=offset)) as chunks:  # type: ignore[type-var]  # a generator
            return b"".join([chunk async for chunk in chunks])

    @staticmethod
    async def assert_lists(store: ArtifactStore, run: RunKey, expected: Sequence[Artifact]) -> None:
        """Asserts that the artifacts of a run are these. The list of a store may lack the checksums."""
        found = await store.list(run)
        assert [_without_checksum(each) for each in found] == [_without_checksum(each) for each in expected]
        for each, put in zip(found, expected, strict=True):
            assert each.sha256 in {None, put.sha256}, f"the checksum of {each.name} has changed"


def _without_checksum(artifact: Artifact) -> tuple[str, int, str, str]:
    return artifact.name, artifact.size, artifact.content_type, artifact.content_encoding


__all__ = ["RUN", "StoreKit", "body"]
