"""FolderResults: what a run has left in its folder, for every engine whose runs work in one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally, local_failure
from taskrunner.files.artifact_files import ArtifactFile, ArtifactFiles
from taskrunner.files.folder_tar import folder_tar
from taskrunner.files.untrusted import empty_folder, open_beneath
from taskrunner.interfaces.log import Log
from taskrunner.interfaces.results import READ_SIZE, Entry, Results

READ_TIME = 120.0
"""Seconds for one read of a file; a disk that takes longer is broken."""
READ_GRACE = 5.0
"""Seconds that a cancelled read gets before its file is closed. A read in progress must not meet another file that the
system has given the same descriptor."""
LIST_TIME = 600.0
"""Seconds to list a folder: a million files take about ten."""
REMOVE_TIME = 240.0
"""Seconds to remove a run's folder: a million files take about a minute on a slow disk. Less than a run waits for each
of its resources, so that the error names the folder."""


class FolderResults(Results):
    """Files are confined to the run's folder, and so is what a link leads to. An attached cache lies outside of it: the
    task copies into the folder what is to be kept of it.
    """

    def __init__(self, folder: Path, log: Log, exit_code: int, *, reason: str = "", message: str = "") -> None:
        self.exit_code, self.reason, self.message = exit_code, reason, message
        self._folder, self._files, self._log = folder, ArtifactFiles(folder, log), log

    async def archive_file(self, path: str) -> Entry:
        find = partial(self._files.file, path)
        return self._entry(
            await run_blocking(find, limit=READ_TIME, doing="opening a file", error=TaskFailedInternally)
        )

    async def archive_folder(self, path: str) -> AsyncIterator[Entry]:
        find = partial(self._files.folder, path)
        for file in await run_blocking(find, limit=LIST_TIME, doing="listing a folder", error=TaskFailedInternally):
            yield self._entry(file)

    async def archive(self, path: str = ".") -> Entry:
        find = partial(self._files.top, path)
        top = await run_blocking(find, limit=READ_TIME, doing="opening a folder", error=TaskFailedInternally)
        return Entry(top.name, None, lambda: self._tar(top))

    async def dispose(self) -> None:
        await empty_run_folder(self._folder)

    def _entry(self, file: ArtifactFile) -> Entry:
        return Entry(file.name, file.size, lambda: self._stream(file))

    async def _tar(self, top: Path) -> AsyncIterator[bytes]:
        pieces = folder_tar(top, self._log.say)
        try:
            while piece := await _next_piece(pieces):
                yield piece
        except OSError as error:
            raise local_failure(f"{top.name} could not be archived: {error.strerror}", error) from None
        finally:
            with suppress(ValueError):  # a read that hangs is still in it, and closes its file when it ends
                pieces.close()

    async def _stream(self, file: ArtifactFile) -> AsyncIterator[bytes]:
        try:
            begin, descriptor = await self._begin(file)
            try:
                if begin:
                    yield begin
                while descriptor is not None and (piece := await _read(descriptor)):
                    yield piece
            finally:
                if descriptor is not None:
                    os.close(descriptor)
        except OSError as error:
            raise local_failure(f"{file.name} could not be read: {error.strerror}", error) from None

    async def _begin(self, file: ArtifactFile) -> tuple[bytes, int | None]:
        return await run_blocking(
            partial(_open_and_read, self._files.root, file.parts),
            limit=READ_TIME,
            doing="opening a file",
            discard=_close_late,
            error=TaskFailedInternally,
        )


def _open_and_read(root: Path, parts: tuple[str, ...]) -> tuple[bytes, int | None]:
    """The first bytes of a file, and its descriptor if there may be more: of a thousand small files, the trips to a
    thread take most of the time. Raises OSError."""
    descriptor = open_beneath(root, parts)
    try:
        begin = os.read(descriptor, READ_SIZE)
        more = os.read(descriptor, READ_SIZE)
    except OSError:
        os.close(descriptor)
        raise
    if more:
        return begin + more, descriptor
    os.close(descriptor)
    return begin, None


def _close_late(late: tuple[bytes, int | None]) -> None:
    if late[1] is not None:
        os.close(late[1])


async def empty_run_folder(folder: Path) -> None:
    """Removes everything in a run's folder. Raises TaskFailedInternally with a line for each thing that is left."""
    problems = await run_blocking(
        partial(empty_folder, folder),
        limit=REMOVE_TIME,
        doing="emptying the run's folder",
        error=TaskFailedInternally,
    )
    if problems:
        raise TaskFailedInternally("\n".join(problems))


async def _next_piece(pieces: Iterator[bytes]) -> bytes:
    return await run_blocking(
        partial(next, pieces, b""),
        limit=READ_TIME,
        doing="reading a folder",
        grace=READ_GRACE,
        error=TaskFailedInternally,
    )


async def _read(descriptor: int) -> bytes:
    return await run_blocking(
        partial(os.read, descriptor, READ_SIZE),
        limit=READ_TIME,
        doing="reading a file",
        grace=READ_GRACE,
        error=TaskFailedInternally,
    )
