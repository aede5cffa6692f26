"""ArtifactStore: where artifacts and logs are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path

from taskrunner.model import Artifact, RunKey

LOG_NAME = "log"
"""The reserved name of a run's log; `list` leaves it out."""

INDEX_NAME = "log.index"
"""The same for the index of the log: when each piece came, and from which stream."""


class ArtifactStore(ABC):
    """Keeps files under a run's key: a stale run can never overwrite the artifacts of a later one.

    A name that does not match `limits.ARTIFACT_PATTERN` is refused with ValueError.
    Every method may raise Unavailable, and TaskFailedInternally when the store refuses (full, no permission).
    """

    @abstractmethod
    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], *, content_type: str = "") -> Artifact:
        """Streams a file in. It is listed once it is complete; the same name again replaces it. `content_type` is
        guessed from the name when empty.
        """

    @abstractmethod
    async def put_log(self, run: RunKey, spool: Path) -> None:
        """Keeps the finished log, the file `spool`, under LOG_NAME, and its index, the file `<spool>.index`, if there
        is one, under INDEX_NAME. A log that is kept again replaces both.
        """

    @abstractmethod
    def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        """Streams a file out, from a byte offset. Raises FileNotFoundError."""

    @abstractmethod
    async def list(self, run: RunKey) -> list[Artifact]:
        """All artifacts of a run, sorted by name; none when the run is unknown."""
