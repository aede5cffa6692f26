"""A store in a folder of this machine.

::

    <root>/<task_id>/<run_id>/log                     the log
                             /log.index               the index of the log, if it has one
                             /data/<writer>-<n>-<name>  what was put, by the last part of its name
                             /index/<hash>.json       one entry for each artifact: its name, where its data is, ...
                             /writers/<writer>.lock   locked for as long as a writer lives
    <root>/.deleted                                   runs that are being removed

An artifact exists when its entry does. The entry is renamed into its place after the data is on the disk, so that a
reader sees the old artifact or the new one, also after a power cut. Names stand in the entries only: `a` and `a/b`, or
`A` and `a` on a disk that ignores case, never collide. Everything is readable by the worker's user alone.

What a dead writer has left is removed by the next `put` or `list` of its run, and by crash recovery.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
import re
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Self, TypeVar

import attrs
from attrs.validators import matches_re

from taskrunner.blocking import run_blocking, wait_through
from taskrunner.errors import ConfigError, TaskFailedInternally
from taskrunner.interfaces.artifacts import (
    RESERVED_NAMES,
    ArtifactStore,
    check_artifact_name,
    check_new_name,
)
from taskrunner.interfaces.plugin import PluginContext
from taskrunner.limits import ID_PATTERN
from taskrunner.model import Artifact, RunKey
from taskrunner.stores.artifact_folder import ArtifactFolder
from taskrunner.stores.artifact_writer import ArtifactWriter, NewArtifact, Upload
from taskrunner.stores.store_disk import CALL_LIMIT, StoreDisk

T = TypeVar("T")

CHUNK = 1 << 20
"""Bytes of one read of `get`."""

TRASH = ".deleted"
"""The folder of what is removed: no id of a task begins so."""

SYNC_LIMIT = 600.0
"""Seconds until what was put is on the disk, which may have much else to write."""


@attrs.frozen
class FolderOptions:
    """The table `[store.folder]` of the worker's configuration."""

    path: str = attrs.field(
        default="", validator=matches_re(r"(?:/[^\x00]+)?"), metadata={"hint": "write the full path of a folder"}
    )
    """The folder. By default `artifacts` in the worker's home."""


class FolderStore(ArtifactStore):
    """Keeps everything under `root`, which the first `put` makes."""

    options: ClassVar[type[Any]] = FolderOptions

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._disk = StoreDisk(self._root)

    @classmethod
    async def open(cls, options: Any, context: PluginContext) -> Self:
        """Makes the folder for a worker. `options` are FolderOptions; a subclass may have others."""
        root = Path(options.path) if options.path else context.home / "artifacts"
        if context.worker_id:
            await run_blocking(partial(_make_writable, root), limit=CALL_LIMIT, doing="opening the artifact store")
        return cls(root)

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
        async with self.batch(run) as one:
            about = {"content_type": content_type, "content_encoding": content_encoding}
            return await one.put(run, name, body, size=size, **about, expires=expires)

    @asynccontextmanager
    async def batch(self, run: RunKey) -> AsyncIterator[ArtifactStore]:
        batch = FolderBatch(self, run, self._folder(run), self._disk)
        try:
            yield batch
        finally:
            await asyncio.shield(batch.end())

    async def put_log(self, run: RunKey, spool: Path) -> None:
        folder = self._folder(run)
        await self._disk.call(lambda: folder.keep_log(spool))

    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        check_artifact_name(name)
        if offset < 0:
            raise ValueError(f"offset is {offset}: it counts from the beginning of the file")
        folder = self._folder(run)
        opening = partial(folder.open_log if name in RESERVED_NAMES else folder.open, name)
        file = await self._disk.call(opening, discard=lambda late: late.close())
        try:
            await self._disk.call(lambda: file.seek(offset))
            while chunk := await self._disk.call(lambda: file.read(CHUNK)):
                yield chunk
        finally:
            await asyncio.shield(self._disk.call(file.close))

    async def list(self, run: RunKey) -> list[Artifact]:
        return await self._disk.call(self._folder(run).artifacts)

    async def discard_unfinished(self, run: RunKey) -> None:
        await self._disk.call(self._folder(run).remove_abandoned)

    async def delete(self, run: RunKey, names: Collection[str] | None = None) -> None:
        folder = self._folder(run)
        if names is not None:
            await self._disk.call(partial(folder.remove, names))
        elif stayed := await self._disk.call(partial(folder.remove_all, self._root / TRASH)):
            raise TaskFailedInternally("the artifact store cannot remove " + "; ".join(stayed))

    def _folder(self, run: RunKey) -> ArtifactFolder:
        if not re.fullmatch(ID_PATTERN, run.task_id) or run.run_id < 0:
            raise ValueError(f"{str(run)!r} names no run")
        return ArtifactFolder(self._root.joinpath(run.task_id, str(run.run_id)))


def _make_writable(root: Path) -> None:
    """Raises ConfigError."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"path: the folder {root} cannot be made: {error.strerror} (name another)") from None
    if not os.access(root, os.W_OK | os.X_OK):
        raise ConfigError(f"path: the folder {root} cannot be written (check its owner and mode, or name another)")


class FolderBatch(ArtifactStore):
    """The store, while some artifacts of one run are put together."""

    def __init__(self, store: FolderStore, run: RunKey, folder: ArtifactFolder, disk: StoreDisk) -> None:
        self._store, self._run, self._folder, self._disk = store, run, folder, disk
        self._writer: ArtifactWriter | None = None
        self._opening = Lock()

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
        """A small file takes one trip to a thread: the trips are most of its time."""
        check_new_name(name)
        if run != self._run:
            raise ValueError(f"this is a batch of {self._run}, not of {run}")
        new = NewArtifact(name, size, content_type or guess_type(name), content_encoding, expires)
        chunks = aiter(body)
        first = await anext(chunks, b"")
        if (second := await anext(chunks, None)) is None:
            return await self._disk.call(partial(self._put_whole, new, first))
        upload = await self._disk.call(partial(self._begin, new, first), discard=self._discard)
        try:
            await _write_all(self._disk, upload, _after((second,), chunks))
            return await self._disk.call(lambda: self._open().keep(upload))
        except BaseException:
            await asyncio.shield(self._disk.call(partial(self._discard, upload)))
            raise

    async def put_log(self, run: RunKey, spool: Path) -> None:
        await self._store.put_log(run, spool)

    def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        return self._store.get(run, name, offset=offset)

    async def list(self, run: RunKey) -> list[Artifact]:
        return await self._store.list(run)

    async def end(self) -> None:
        """Lists what was put. Raises Unavailable, TaskFailedInternally."""
        if writer := self._writer:
            try:
                await self._disk.call(writer.publish, limit=SYNC_LIMIT)
            finally:
                await self._disk.call(writer.close)

    def _open(self) -> ArtifactWriter:
        with self._opening:
            self._writer = self._writer or self._folder.write()
            return self._writer

    def _begin(self, new: NewArtifact, data: bytes) -> Upload:
        """With the first bytes of it."""
        writer = self._open()
        upload = writer.begin(new)
        try:
            upload.write(data)
        except BaseException:
            writer.discard(upload)
            raise
        return upload

    def _put_whole(self, new: NewArtifact, data: bytes) -> Artifact:
        writer = self._open()
        upload = writer.begin(new)
        try:
            upload.write(data)
            return writer.keep(upload)
        finally:
            writer.discard(upload)

    def _discard(self, upload: Upload) -> None:
        self._open().discard(upload)


async def _write_all(disk: StoreDisk, upload: Upload, chunks: AsyncIterator[bytes]) -> None:
    """Writes each chunk while the next one comes: writing and hashing take as long as most sources."""
    writing: asyncio.Task[None] | None = None
    try:
        async for chunk in chunks:
            await _written(writing)
            writing = asyncio.create_task(disk.call(partial(upload.write, chunk)))
        await _written(writing)
    finally:
        if writing:
            await wait_through(writing)  # one thread at a time has the file
            writing.exception()  # retrieved, so that asyncio does not log it where the source has failed too


async def _written(writing: asyncio.Task[None] | None) -> None:
    """Raises what the write raised. A cancellation of the caller does not end the write."""
    if writing:
        await asyncio.wait([writing])
        writing.result()


async def _after(first: Iterable[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in first:
        yield chunk
    async for chunk in rest:
        yield chunk


def guess_type(name: str) -> str:
    """The media type that a name suggests."""
    kind, encoding = mimetypes.guess_type(name)
    return kind if kind and not encoding else "application/octet-stream"
