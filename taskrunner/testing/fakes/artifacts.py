"""MemoryStore: an artifact store in memory."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import AsyncIterator, Collection
from datetime import datetime
from pathlib import Path

from taskrunner.blocking import run_blocking
from taskrunner.interfaces.artifacts import (
    INDEX_NAME,
    LOG_NAME,
    RESERVED_NAMES,
    ArtifactStore,
    check_artifact_name,
    check_new_name,
)
from taskrunner.interfaces.log import index_of
from taskrunner.interfaces.results import READ_SIZE
from taskrunner.model import Artifact, RunKey

READ_LIMIT = 60.0
"""Seconds to read a log from disk, which a test keeps small."""


class MemoryStore(ArtifactStore):
    """Artifacts in memory: `bodies[RunKey("t1", 0), "public/report.xml"]`."""

    def __init__(self) -> None:
        self.bodies: dict[tuple[RunKey, str], bytes] = {}
        self._types: dict[tuple[RunKey, str], str] = {}
        self._encodings: dict[tuple[RunKey, str], str] = {}
        self._expiry: dict[tuple[RunKey, str], datetime | None] = {}

    async def put(
        self,
        run: RunKey,
        name: str,
        body: AsyncIterator[bytes],
        *,
        size: int | None = None,
        content_type: str = "",
        content_encoding: str = "",
        expires: datetime | None = None,
    ) -> Artifact:
        check_new_name(name)
        key = run, name
        data = b"".join([chunk async for chunk in body])
        if size not in {None, len(data)}:
            raise ValueError(f"it has {len(data)} bytes, and not {size} as it was said to have")
        self.bodies[key], self._expiry[key], self._encodings[key] = data, expires, content_encoding
        self._types[key] = content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return self._artifact(key)

    async def put_log(self, run: RunKey, spool: Path) -> None:
        self.bodies[run, LOG_NAME] = await run_blocking(spool.read_bytes, limit=READ_LIMIT, doing="reading the log")
        self._types[run, LOG_NAME] = "text/plain"
        self.bodies.pop((run, INDEX_NAME), None)
        if index_of(spool).exists():
            self.bodies[run, INDEX_NAME] = await run_blocking(
                index_of(spool).read_bytes, limit=READ_LIMIT, doing="reading the index"
            )

    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        check_artifact_name(name)
        key = run, name
        if key not in self.bodies:
            raise FileNotFoundError(f"{run} has no artifact {name}")
        for begin in range(offset, len(self.bodies[key]), READ_SIZE):
            yield self.bodies[key][begin : begin + READ_SIZE]

    async def list(self, run: RunKey) -> list[Artifact]:
        names = sorted(name for owner, name in self.bodies if owner == run and name not in RESERVED_NAMES)
        return [self._artifact((run, name)) for name in names]

    async def delete(self, run: RunKey, names: Collection[str] | None = None) -> None:
        kept = RESERVED_NAMES if names is not None else frozenset()
        for key in list(self.bodies):
            if key[0] == run and key[1] not in kept and (names is None or key[1] in names):
                del self.bodies[key]

    def log(self, run: RunKey) -> str:
        """The log of a run, as text."""
        return self.bodies[run, LOG_NAME].decode(errors="replace")

    def _artifact(self, key: tuple[RunKey, str]) -> Artifact:
        body, digest = self.bodies[key], hashlib.sha256(self.bodies[key]).hexdigest()
        return Artifact(key[1], len(body), digest, self._types[key], self._expiry[key], self._encodings[key])


__all__ = ["MemoryStore"]
