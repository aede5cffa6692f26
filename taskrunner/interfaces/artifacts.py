"""ArtifactStore: where artifacts and logs are kept."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Literal

import attrs

from taskrunner.errors import NotSupported
from taskrunner.interfaces.plugin import Plugin
from taskrunner.limits import ARTIFACT_HINT, ARTIFACT_PATTERN
from taskrunner.model import Artifact, RunKey

LOG_NAME = "log"
"""The reserved name of a run's log; `list` leaves it out."""

INDEX_NAME = "log.index"
"""The same for the index of the log: when each piece came, and from which stream."""

RESERVED_NAMES = frozenset({LOG_NAME, INDEX_NAME})
"""What `put_log` keeps, and `put` refuses."""


def check_artifact_name(name: str) -> None:
    """Raises ValueError for a text that names no artifact, log or index."""
    if not re.fullmatch(ARTIFACT_PATTERN, name):
        raise ValueError(f"{name[:100]!r} names no artifact: {ARTIFACT_HINT}")


def check_new_name(name: str) -> None:
    """Raises ValueError for a name that no artifact can be put under: the same, and the names of the log."""
    check_artifact_name(name)
    if name in RESERVED_NAMES:
        raise ValueError(f"{name!r} is reserved for the log of the run: give the artifact another name")


@attrs.frozen
class Missing:
    """An artifact that its task declares, and that is not kept."""

    name: str
    reason: Literal["missing", "unreadable", "too-large", "refused"]
    message: str
    """The same for people."""


class ArtifactStore(Plugin):
    """Keeps files under a run's key: a stale run can never overwrite the artifacts of a later one.

    Found by its entry point (group `taskrunner.stores`), chosen by `store` in the configuration, and opened by
    `open(options, context)`. Used from one event loop, by several coroutines at once.

    A name that `check_artifact_name` refuses is refused with ValueError.
    Every method may raise Unavailable, and TaskFailedInternally when the store refuses (full, no permission).
    """

    @abstractmethod
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
        """Streams a file in. It is listed once it is complete; the same name again replaces it. LOG_NAME and INDEX_NAME
        are refused with ValueError: an artifact cannot take the place of the log.

        `size` is that of the body in bytes, when it is known before; a body of another size is refused with ValueError,
        whose text has the number of bytes. The artifact that is returned has the `sha256` of the body.
        `content_type` is guessed from the name when empty. `content_encoding` says what the body is compressed with, as
        in HTTP; it is kept with the file, which is stored as it comes. `expires` is a time of day after which the store
        may remove the file; until then it does not. None: as the store is set up.
        """

    def batch(self, run: RunKey) -> AbstractAsyncContextManager[ArtifactStore]:
        """Encloses many calls of `put` for one run, by the store that it yields: some stores are much faster so. What
        was put is listed, and survives a power cut, at the end of the block, however that ends; until then it may not
        be listed. One batch of a run at a time.

        Raises at its end what `put` raises: then what was put is lost.
        """
        return nullcontext(self)

    @abstractmethod
    async def put_log(self, run: RunKey, spool: Path) -> None:
        """Keeps the finished log, the file `spool`, under LOG_NAME, and its index, the file `<spool>.index`, if there
        is one, under INDEX_NAME. A log that is kept again replaces both.
        """

    async def put_missing(self, run: RunKey, missing: Missing) -> None:
        """Tells those who ask for this artifact why it is not there. Called by the worker for a queue whose readers ask
        for artifacts by name. By default nobody is told.
        """

    @abstractmethod
    def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        """Streams a file out, from a byte offset. Raises FileNotFoundError."""

    @abstractmethod
    async def list(self, run: RunKey) -> list[Artifact]:
        """All artifacts of a run, sorted by name; none when the run is unknown."""

    async def close(self) -> None:
        """Releases connections and files. A second call does nothing. Raises nothing."""

    async def discard_unfinished(self, run: RunKey) -> None:
        """Removes what uploads of this run have left that were killed; a living one is left alone. Called for the runs
        of workers that died."""

    async def delete(self, run: RunKey, names: Collection[str] | None = None) -> None:
        """Removes these artifacts of a run, or with None all of them and its log. What is not there is ignored, so that
        a deletion that was interrupted can be repeated. No put of this run is under way. A reader that has begun may
        still read to the end. Raises NotSupported (the default)."""
        raise NotSupported("this store removes nothing by itself")
