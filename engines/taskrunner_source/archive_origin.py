"""Where an archive comes from: a path that the configuration allows, the engine's cache, or a download."""

from __future__ import annotations

import hashlib

from taskrunner.connections import Connections
from taskrunner.errors import TaskFailed
from taskrunner.files.allowed_path import open_allowed
from taskrunner.files.archives.refusal import REASON, shown
from taskrunner.files.downloads.location import Location
from taskrunner.files.downloads.run_download import download_for_run, masked_location
from taskrunner.interfaces.platform import RunContext
from taskrunner.model import Source
from taskrunner_source.archive_download import download_cache, downloaded_archive, kept_archive, reading
from taskrunner_source.archive_file import ArchiveFile, copied


async def open_archive(context: RunContext, source: Source) -> ArchiveFile:
    """The archive of a source, whose checksum is right. The caller closes its file.

    Raises: TaskFailed, TaskFailedInternally, Unavailable, MalformedPayload (there is no such secret).
    """
    if source.archive.startswith("/"):
        archive = await _local(context, source)
    else:
        location = masked_location(context, source.archive, source.token)
        archive = await (_cached if source.sha256 else _once)(context, location, source.sha256)
    context.log.say(f"source: {archive.name} has the sha256 {archive.sha256}")
    return archive


def public_url(source: Source) -> str:
    """Where an archive comes from, without credentials and query; empty for a path of this machine."""
    return "" if source.archive.startswith("/") else str(Location.parse(source.archive))


async def _local(context: RunContext, source: Source) -> ArchiveFile:
    allowed, name = context.source_options.archives, shown(source.archive)

    def read(connections: Connections) -> ArchiveFile:
        file = open_allowed(source.archive, allowed, "[source] archives", _refused)
        return copied(name, file, source.sha256, connections, context.folder)

    return await reading(name, read)


async def _once(context: RunContext, location: Location, sha256: str) -> ArchiveFile:
    """Without a checksum nothing says that the server still has the same file. The run's folder stays empty."""
    target = context.folder / ".archive"
    try:
        await download_for_run(context, location, target, sha256, label="source")
        return await downloaded_archive(str(location), target, sha256)
    finally:
        target.unlink(missing_ok=True)


async def _cached(context: RunContext, location: Location, sha256: str) -> ArchiveFile:
    async with download_cache(context, _cache_name(location, sha256)) as folder:
        target = folder / "archive"
        archive = await kept_archive(str(location), target, sha256)
        if archive is None:
            await download_for_run(context, location, target, sha256, label="source")
            archive = await downloaded_archive(str(location), target, sha256)
    return archive


def _refused(problem: str) -> TaskFailed:
    return TaskFailed(REASON, f"source: {problem}")


def _cache_name(location: Location, sha256: str) -> str:
    """A download belongs to the credentials that it was made with: without them, a task could read a private archive by
    its checksum. A query is often a signature, and counts as one."""
    parts = [location.url, location.authorization, sha256.lower()]
    return f"archive-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"
