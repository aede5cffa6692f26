"""An archive as the source of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.connections import Connections
from taskrunner.errors import Bug, Complaint, MalformedPayload, TaskFailedInternally
from taskrunner.files.unpack import Unpacked, unpack
from taskrunner.files.untrusted import remove_folder
from taskrunner.interfaces.platform import RunContext
from taskrunner.model import Source
from taskrunner_source.archive_origin import open_archive, public_url
from taskrunner_source.fetched import FetchedSource, Owner, Provenance

if TYPE_CHECKING:
    from taskrunner_git import FileTree

_UNPACK_LIMIT = 3600.0
"""Seconds to write the files of an archive: a million small ones, on a slow disk."""
_GRACE = 30.0
"""Seconds that a cancelled unpacking waits for its thread, which stops at the next piece."""


@attrs.frozen
class FetchedArchive(FetchedSource):
    """An archive, unpacked into a folder of the run.

    Its files have the archive's own times. Another archive has another key, and under one key no content ever changes.
    """

    sha256: str
    _strip: int
    _folder: Path
    _url: str = ""

    @property
    def identity(self) -> Mapping[str, str]:
        return {"sha256": self.sha256}

    @property
    def provenance(self) -> Provenance:
        return Provenance(self._url)

    @property
    def times_key(self) -> str:
        return f"archive-{self.sha256}-{self._strip}"

    async def files(self, path: str, *, keep_git: bool = False) -> FileTree:
        from taskrunner_source.folder_tree import FolderTree

        if keep_git:
            raise MalformedPayload(
                Complaint(
                    "build.keep_git", "an archive has no `.git` but its own", "leave it out, or name a repository"
                )
            )
        return FolderTree(self._folder).below(path)

    async def release(self) -> None:
        """The files are removed; what cannot be is removed with the folder of the run."""
        await run_blocking(partial(remove_folder, self._folder), limit=_UNPACK_LIMIT, doing="removing the source")


async def fetch(context: RunContext) -> FetchedArchive:
    """As `source.fetch_source`, into a folder of the run's folder."""
    folder = context.folder / "source"
    folder.mkdir()
    sha256 = await checkout(context, folder, None, (), moved=False)
    source = _source(context)
    return FetchedArchive(sha256, source.strip, folder, public_url(source))


async def checkout(
    context: RunContext,
    folder: Path,
    owner: Owner | None,
    ignored: Sequence[str],  # noqa: ARG001  there is no `.git`
    *,
    moved: bool,  # noqa: ARG001  as above
) -> str:
    """As `source.checkout`; returns the SHA-256 of the archive."""
    source = _source(context)
    archive = await open_archive(context, source)
    with closing(archive.file):
        unpacked = await _unpack(archive.file, folder, source.strip, owner)
    context.log.say(f"source: {unpacked.members} files and folders, {unpacked.size} bytes")
    return archive.sha256


async def _unpack(archive: BinaryIO, folder: Path, strip: int, owner: Owner | None) -> Unpacked:
    connections = Connections()
    try:
        return await run_blocking(
            partial(unpack, archive, folder, connections, strip=strip, owner=owner),
            limit=_UNPACK_LIMIT,
            doing="unpacking the archive",
            interrupt=connections.interrupt,
            grace=_GRACE,
        )
    except OverLimit as error:
        raise TaskFailedInternally(str(error)) from None


def _source(context: RunContext) -> Source:
    if context.task.source is None:
        raise Bug("the caller has checked that there is a source")
    return context.task.source
