"""A store in a folder of this machine.

::

    <root>/<task_id>/<run_id>/log                     the log
                             /data/<random>-<name>    what was put, by the last part of its name
                             /index/<hash>.json       one entry for each artifact: its name, where its data is, ...

The entry is what counts: it is renamed into its place after the data is whole, so that a reader sees the old artifact
or the new one. Names live in the entries only, so that `a` and `a/b`, or `A` and `a` on a disk that does not tell them
apart, never meet. A file in `data` is locked while it is written; one that no entry names and nobody has locked is what
a dead writer left, and is removed by the next `put` or `list`.
"""

from __future__ import annotations

import asyncio
import mimetypes
import re
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.interfaces.artifacts import LOG_NAME, ArtifactStore
from taskrunner.limits import ARTIFACT_HINT, ARTIFACT_PATTERN, ID_PATTERN
from taskrunner.model import Artifact, RunKey
from taskrunner.stores.artifact_folder import ArtifactFolder

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound="_Closable")

CHUNK = 1 << 20
"""Bytes that `get` reads at once."""

CALL_LIMIT = 60.0
"""Seconds for one call to the disk: a sync of gigabytes may take a while; longer, and the disk hangs."""


class FolderStore(ArtifactStore):
    """Keeps everything under `root`, which is made when the first thing is put."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], *, content_type: str = "") -> Artifact:
        check_name(name)
        if name == LOG_NAME:
            raise ValueError(f"{LOG_NAME!r} is kept for the log of the run: give the artifact another name")
        folder = self._folder(run)
        upload = await _opened(folder.begin, name)
        try:
            async for chunk in body:
                await _on_disk(upload.write, chunk)
            return await _on_disk(folder.commit, upload, content_type or guess_type(name))
        finally:
            await asyncio.shield(_on_disk(upload.close))

    async def put_log(self, run: RunKey, spool: Path) -> None:
        await _on_disk(self._folder(run).keep_log, spool)

    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        check_name(name)
        if offset < 0:
            raise ValueError(f"offset is {offset}: it counts from the begin of the file")
        folder = self._folder(run)
        file = await _opened(folder.open_log if name == LOG_NAME else folder.open, name)
        try:
            await _on_disk(file.seek, offset)
            while chunk := await _on_disk(file.read, CHUNK):
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


class _Closable(Protocol):
    def close(self) -> None: ...


async def _opened(work: Callable[[str], C], name: str) -> C:
    """What `work` opens; when nobody is left to take it, it is closed, however late it comes."""
    opened: list[C] = []
    left = threading.Event()

    def opening() -> C:
        opened.append(work(name))
        if left.is_set():
            opened[0].close()
        return opened[0]

    try:
        return await _on_disk(opening)
    except BaseException:
        left.set()
        for file in opened:
            file.close()
        raise


async def _on_disk(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Raises: Unavailable, TaskFailedInternally, and FileNotFoundError of the artifact itself."""
    try:
        async with asyncio.timeout(CALL_LIMIT):
            return await asyncio.to_thread(work, *args, **kwargs)
    except TimeoutError:
        raise Unavailable(f"the disk of the artifact store did not answer for {CALL_LIMIT:.0f} seconds") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise TaskFailedInternally(f"the artifact store refused: {error.strerror}") from error
