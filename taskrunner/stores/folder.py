"""A store in a folder of this machine.

::

    <root>/<task_id>/<run_id>/log                     the log
                             /log.index               the index of the log, if it has one
                             /data/<random>-<name>    what was put, by the last part of its name
                             /index/<hash>.json       one entry for each artifact: its name, where its data is, ...

An artifact exists when its entry does. The entry is renamed into its place after the data is complete, so that a reader
sees the old artifact or the new one. Names stand in the entries only: `a` and `a/b`, or `A` and `a` on a disk that
ignores case, never collide.

A file in `data` is locked while it is written. An unlocked one without an entry was left by a dead writer, and the next
`put` or `list` removes it.
"""

from __future__ import annotations

import asyncio
import mimetypes
import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.interfaces.artifacts import INDEX_NAME, LOG_NAME, ArtifactStore
from taskrunner.limits import ARTIFACT_HINT, ARTIFACT_PATTERN, ID_PATTERN
from taskrunner.model import Artifact, RunKey
from taskrunner.stores.artifact_folder import ArtifactFolder, Upload

T = TypeVar("T")

CHUNK = 1 << 20
"""Bytes of one read of `get`."""

RESERVED = {LOG_NAME, INDEX_NAME}
"""What `put_log` keeps, and `put` refuses."""

CALL_LIMIT = 60.0
"""Seconds for one call to the disk, enough for a sync of gigabytes. Beyond it, the disk hangs."""


class FolderStore(ArtifactStore):
    """Keeps everything under `root`, which the first `put` makes."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], *, content_type: str = "") -> Artifact:
        check_name(name)
        if name in RESERVED:
            raise ValueError(f"{name!r} is reserved for the log of the run: give the artifact another name")
        folder = self._folder(run)
        upload = await _on_disk(lambda: folder.begin(name), discard=Upload.close)
        try:
            async for chunk in body:
                await _on_disk(partial(upload.write, chunk))
            return await _on_disk(lambda: folder.commit(upload, content_type or guess_type(name)))
        finally:
            await asyncio.shield(_on_disk(upload.close))

    async def put_log(self, run: RunKey, spool: Path) -> None:
        folder = self._folder(run)
        await _on_disk(lambda: folder.keep_log(spool))

    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        check_name(name)
        if offset < 0:
            raise ValueError(f"offset is {offset}: it counts from the beginning of the file")
        folder = self._folder(run)
        opening = partial(folder.open_log if name in RESERVED else folder.open, name)
        file = await _on_disk(opening, discard=lambda late: late.close())
        try:
            await _on_disk(lambda: file.seek(offset))
            while chunk := await _on_disk(lambda: file.read(CHUNK)):
                yield chunk
        finally:
            await asyncio.shield(_on_disk(file.close))

    async def list(self, run: RunKey) -> list[Artifact]:
        return await _on_disk(self._folder(run).artifacts)

    def _folder(self, run: RunKey) -> ArtifactFolder:
        if not re.fullmatch(ID_PATTERN, run.task_id) or run.run_id < 0:
            raise ValueError(f"{str(run)!r} names no run")
        return ArtifactFolder(self._root.joinpath(run.task_id, str(run.run_id)))


def check_name(name: str) -> None:
    """Raises ValueError for a text that names no artifact."""
    if not re.fullmatch(ARTIFACT_PATTERN, name):
        raise ValueError(f"{name[:100]!r} names no artifact: {ARTIFACT_HINT}")


def guess_type(name: str) -> str:
    """The media type that a name suggests."""
    kind, encoding = mimetypes.guess_type(name)
    return kind if kind and not encoding else "application/octet-stream"


async def _on_disk(work: Callable[[], T], discard: Callable[[T], None] | None = None) -> T:
    """Performs blocking work. `discard` closes what was opened for a caller that has given up.

    Raises: Unavailable, TaskFailedInternally, and FileNotFoundError of the artifact itself.
    """
    try:
        return await run_blocking(work, limit=CALL_LIMIT, doing="a call to the artifact store", discard=discard)
    except TimeoutError:  # OverLimit, or that of a network disk
        raise Unavailable(f"the disk of the artifact store did not answer for {CALL_LIMIT:.0f} seconds") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise TaskFailedInternally(f"the artifact store refused: {error.strerror}") from error
