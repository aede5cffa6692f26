"""A downloaded archive: the folder that keeps it, and reading it for its checksum."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.connections import Connections
from taskrunner.errors import TaskFailed, TaskFailedInternally, local_failure
from taskrunner.interfaces.platform import RunContext
from taskrunner_source.archive_file import ArchiveFile, checked

_READ_LIMIT = 600.0
"""Seconds to read an archive once, for its checksum: 4 GB of a slow disk."""
_GRACE = 10.0
"""Seconds that a cancelled reading waits for its thread, which stops at the next piece."""


@asynccontextmanager
async def download_cache(context: RunContext, name: str) -> AsyncIterator[Path]:
    """The folder of a download, for one run at a time: the first run fills it, those that have waited find the file,
    also runs of other workers on this home. An error discards it. An open file needs no lease afterwards: it stays what
    it is, also when the cache is deleted."""
    async with context.caches.filling(name):
        lease = await context.caches.exclusive(name)
        try:
            yield lease.folder.path
        except BaseException:
            await lease.discard()
            raise
        await lease.commit()


async def kept_archive(name: str, path: Path, sha256: str) -> ArchiveFile | None:
    """What an earlier run has downloaded, if it is still the same. Raises TaskFailedInternally."""
    try:
        return await downloaded_archive(name, path, sha256)
    except (TaskFailed, FileNotFoundError):
        return None


async def downloaded_archive(name: str, path: Path, sha256: str) -> ArchiveFile:
    """A file that was downloaded; `sha256` may be empty.

    Raises: TaskFailed (another checksum), TaskFailedInternally, FileNotFoundError.
    """

    def read(connections: Connections) -> ArchiveFile:
        file = path.open("rb", buffering=0)
        try:
            return checked(name, file, sha256, connections)
        except BaseException:
            file.close()
            raise

    return await reading(name, read)


async def reading(name: str, read: Callable[[Connections], ArchiveFile]) -> ArchiveFile:
    """Reads all of an archive, in a thread. Raises: TaskFailed, TaskFailedInternally, FileNotFoundError."""
    connections = Connections()
    try:
        return await run_blocking(
            lambda: read(connections),
            limit=_READ_LIMIT,
            doing="reading the archive",
            interrupt=connections.interrupt,
            grace=_GRACE,
            discard=lambda archive: archive.file.close(),
        )
    except OverLimit as error:
        raise TaskFailedInternally(str(error)) from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise local_failure(f"source: {name} could not be read: {error.strerror}", error) from None
