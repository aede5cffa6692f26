"""An archive that the queue's system has for a run: downloaded once for all runs that may have it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally, local_failure
from taskrunner.files.downloads.location import Location
from taskrunner.files.downloads.run_download import download_for_run, masked_location
from taskrunner.interfaces.platform import RunContext
from taskrunner.interfaces.queue_file import QueueFile
from taskrunner_source.archive_download import download_cache, downloaded_archive, kept_archive
from taskrunner_source.archive_file import ArchiveFile

T = TypeVar("T")

_NOTE_LIMIT = 60.0
"""Seconds to read or write one line."""


async def open_queue_file(context: RunContext, name: str) -> ArchiveFile:
    """The file that the queue calls `name`. The caller closes it. The queue is asked each time, so that a run gets no
    copy of a file that it may not have.

    Raises: TaskFailed, TaskFailedInternally, Unavailable, MalformedPayload (there is no such file, or the run may not
    have it), NotSupported (the queue has no files).
    """
    found = await context.locate(name)
    location = masked_location(context, found.url)
    cache = f"archive-{hashlib.sha256(found.key.encode()).hexdigest()[:32]}"
    async with download_cache(context, cache) as folder:
        archive = await _kept(found, folder) or await _brought(context, found, location, folder)
    context.log.say(f"source: {archive.name} has the sha256 {archive.sha256}")
    return archive


async def _kept(found: QueueFile, folder: Path) -> ArchiveFile | None:
    """What an earlier run has downloaded, if it is still as it was then."""
    try:
        sha256 = await _on_disk((folder / "sha256").read_text)
    except FileNotFoundError:
        return None
    return await kept_archive(found.name, folder / "archive", sha256)


async def _brought(context: RunContext, found: QueueFile, location: Location, folder: Path) -> ArchiveFile:
    """The checksum is written last: a download that broke off has none."""
    target, note = folder / "archive", folder / "sha256"
    await _on_disk(lambda: note.unlink(missing_ok=True))
    await download_for_run(context, location, target, "", label="source")
    archive = await downloaded_archive(found.name, target, "")
    try:
        await _on_disk(lambda: note.write_text(archive.sha256))
    except BaseException:
        archive.file.close()
        raise
    return archive


async def _on_disk(work: Callable[[], T]) -> T:
    try:
        return await run_blocking(work, limit=_NOTE_LIMIT, doing="keeping a download", error=TaskFailedInternally)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise local_failure(f"source: the download could not be kept: {error.strerror}", error) from None
