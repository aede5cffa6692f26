"""MemoryStore: an artifact store in memory."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import AsyncIterator
from pathlib import Path

from taskrunner.blocking import run_blocking
from taskrunner.interfaces.artifacts import INDEX_NAME, LOG_NAME, ArtifactStore
from taskrunner.interfaces.log import index_of
from taskrunner.interfaces.results import READ_SIZE
from taskrunner.limits import ARTIFACT_HINT, ARTIFACT_PATTERN
from taskrunner.model import Artifact, RunKey

READ_LIMIT = 60.0
"""Seconds to read a log from disk, which a test keeps small."""


class MemoryStore(ArtifactStore):
    """Artifacts in memory: `bodies[RunKey("t1", 0), "public/report.xml"]`."""

    def __init__(self) -> None:
        self.bodies: dict[tuple[RunKey, str], bytes] = {}
        self._types: dict[tuple[RunKey, str], str] = {}

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], *, content_type: str = "") -> Artifact:
        key = run, _checked(name)
        data = b"".join([chunk async for chunk in body])
        self.bodies[key] = data
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
        key = run, _checked(name)
        if key not in self.bodies:
            raise FileNotFoundError(f"{run} has no artifact {name}")
        for begin in range(offset, len(self.bodies[key]), READ_SIZE):
            yield self.bodies[key][begin : begin + READ_SIZE]

    async def list(self, run: RunKey) -> list[Artifact]:
        names = sorted(name for owner, name in self.bodies if owner == run and name not in {LOG_NAME, INDEX_NAME})
        return [self._artifact((run, name)) for name in names]

    def log(self, run: RunKey) -> str:
        """The log of a run, as text."""
        return self.bodies[run, LOG_NAME].decode(errors="replace")

    def _artifact(self, key: tuple[RunKey, str]) -> Artifact:
        body = self.bodies[key]
        return Artifact(key[1], len(body), hashlib.sha256(body).hexdigest(), self._types[key])


def _checked(name: str) -> str:
    if not re.fullmatch(ARTIFACT_PATTERN, name):
        raise ValueError(f"{name[:100]!r} is no artifact name: {ARTIFACT_HINT}")
    return name


__all__ = ["MemoryStore"]
