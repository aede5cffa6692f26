"""An artifact of another task, of the same queue, out of the worker's store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.bounded import BoundedCalls
from taskrunner.connections import Connections
from taskrunner.content.origin import ContentOrigin, check_sum, copying
from taskrunner.content.refusal import missing, refused
from taskrunner.errors import TaskFailedInternally, Unavailable, UnknownTask, local_failure
from taskrunner.files.archives.bounds import Bounds, Usage
from taskrunner.files.archives.decompression import PIECE, CountedReader, decompressed
from taskrunner.files.archives.refusal import shown
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.platform import RunContext
from taskrunner.interfaces.queue import Queue
from taskrunner.model import Artifact, MountSpec, RunKey

T = TypeVar("T")

STALL_LIMIT = 120.0
"""Seconds in which a store sends nothing, or a queue does not answer."""
WRITE_LIMIT = 120.0
"""Seconds to write one piece; a disk that takes longer hangs."""


@attrs.frozen
class Artifacts:
    """What a worker can find artifacts of other tasks by."""

    queue: Queue
    store: ArtifactStore
    calls: BoundedCalls

    async def find(self, mount: MountSpec) -> ArtifactOrigin:
        """That of the last run that has completed.

        Raises: TaskFailed `mount-missing`, NotSupported (a queue whose tasks cannot name each other), Unavailable.
        """
        run = await self._completed_run(mount.task)
        for artifact in await self._call(self.store.list(run), "listing artifacts"):
            if artifact.name == mount.artifact:
                return ArtifactOrigin(self, run, artifact, mount.sha256.lower())
        raise missing(f"run {run} has no artifact {shown(mount.artifact)} in the store of this worker")

    async def _completed_run(self, task_id: str) -> RunKey:
        try:
            status = await self._call(self.queue.status(task_id), f"asking for task {task_id}")
        except UnknownTask:
            raise missing(f"there is no task {task_id} in the queue of this one") from None
        completed = [run.run_id for run in status.runs if run.resolution and run.resolution.kind == "completed"]
        if completed:
            return RunKey(task_id, max(completed))
        how = f"has ended as {status.resolution}" if status.resolution else f"is {status.state}"
        raise missing(f"task {task_id} {how}: submit this one when it has completed")

    async def _call(self, work: Coroutine[Any, Any, T], doing: str) -> T:
        try:
            return await self.calls.call(work, limit=STALL_LIMIT, doing=doing)
        except OverLimit as error:
            raise Unavailable(f"mounts: {error}") from None


@attrs.frozen
class ArtifactOrigin(ContentOrigin):
    """One artifact. What its store has compressed is decompressed, as a browser does."""

    found: Artifacts
    run: RunKey
    artifact: Artifact
    sha256: str

    @property
    def name(self) -> str:
        return f"{shown(self.artifact.name)} of run {self.run}"

    @property
    def key(self) -> tuple[str, ...]:
        stored = self.artifact
        return "artifact", str(self.run), stored.name, stored.sha256 or "", str(stored.size), self.sha256

    async def save(self, context: RunContext, target: Path) -> None:
        context.log.say(f"mounts: fetching {self.name}")
        if not self.artifact.content_encoding:
            check_sum(self.name, await self._copy(target), self.sha256)
            return
        stored, connections = target.with_name(f"{target.name}.stored"), Connections()
        await self._copy(stored)
        await copying(partial(self._decompress, stored, target, connections), "an artifact", connections)

    async def _copy(self, target: Path) -> str:
        """Returns the SHA-256 of what the store has."""
        loop = asyncio.get_running_loop()
        last = loop.time()

        async def copy() -> str:
            nonlocal last
            digest, size = hashlib.sha256(), 0
            with target.open("xb", buffering=0) as file:
                async for piece in self.found.store.get(self.run, self.artifact.name):
                    last, size = loop.time(), size + len(piece)
                    digest.update(piece)
                    await run_blocking(partial(_write_all, file, piece), limit=WRITE_LIMIT, doing="writing an artifact")
            if size != self.artifact.size or self.artifact.sha256 not in {None, digest.hexdigest()}:
                raise TaskFailedInternally(f"mounts: the store has sent another file than {self.name}")
            return digest.hexdigest()

        try:
            return await self.found.calls.call(
                copy(), limit=STALL_LIMIT, doing=f"fetching {self.name}", last=lambda: last
            )
        except FileNotFoundError:
            raise missing(f"{self.name} is not in the store any more") from None
        except OverLimit as error:
            raise Unavailable(f"mounts: the store stands still: {error}") from None
        except OSError as error:
            raise local_failure(f"mounts: {self.name} could not be written here: {error.strerror}", error) from None

    def _decompress(self, stored: Path, target: Path, connections: Connections) -> None:
        encoding, digest = self.artifact.content_encoding, hashlib.sha256()
        if encoding not in {"gzip", "zstd"}:
            raise refused(f"{self.name} is compressed by {shown(encoding)}, which this worker does not know")
        with stored.open("rb", buffering=0) as file, target.open("xb") as plain:
            usage = Usage(Bounds(), self.artifact.size, connections)
            reader = CountedReader(decompressed(file, encoding), usage)
            while piece := reader.read(PIECE):
                digest.update(piece)
                plain.write(piece)
        stored.unlink()
        check_sum(self.name, digest.hexdigest(), self.sha256)


def _write_all(file: FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
