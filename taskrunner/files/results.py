"""FolderResults: what a run has left in its folder, for every engine whose runs work in one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol, TypeVar

from taskrunner.errors import TaskFailedInternally
from taskrunner.files.artifact_files import ArtifactFile, ArtifactFiles
from taskrunner.files.untrusted import empty_folder, open_beneath
from taskrunner.interfaces.log import Log
from taskrunner.interfaces.results import READ_SIZE, Entry, Results

T = TypeVar("T")

READ_TIME = 120.0
"""Seconds for one read of a file; a disk that takes longer is broken."""
LIST_TIME = 600.0
"""Seconds to list a folder: a million files take about ten."""
REMOVE_TIME = 240.0
"""Seconds to remove a run's folder: a million files take about a minute on a slow disk. Less than a run waits for each
thing to be let go of, so that it is told which it was."""


class Block(Protocol):
    """Runs a blocking function elsewhere, for `limit` seconds at most, after which it says what it was `doing`."""

    async def __call__(self, call: Callable[..., T], /, *arguments: object, limit: float, doing: str) -> T:
        """Raises TaskFailedInternally, and whatever the function raises."""
        ...


async def in_thread(call: Callable[..., T], /, *arguments: object, limit: float, doing: str) -> T:
    """A Block on the loop's own threads."""
    try:
        async with asyncio.timeout(limit):
            return await asyncio.to_thread(call, *arguments)
    except TimeoutError:
        raise TaskFailedInternally(f"{doing} took longer than {limit:g} s") from None


class FolderResults(Results):
    """Files are confined to the run's folder, and so is what a link leads to. An attached cache lies outside of it: the
    task copies into the folder what is to be kept of it.
    """

    def __init__(
        self, folder: Path, log: Log, exit_code: int, *, reason: str = "", message: str = "", block: Block = in_thread
    ) -> None:
        self.exit_code, self.reason, self.message = exit_code, reason, message
        self._folder, self._files, self._block = folder, ArtifactFiles(folder, log), block

    async def archive_file(self, path: str) -> Entry:
        return self._entry(await self._block(self._files.file, path, limit=READ_TIME, doing="opening a file"))

    async def archive_folder(self, path: str) -> AsyncIterator[Entry]:
        for each in await self._block(self._files.folder, path, limit=LIST_TIME, doing="listing a folder"):
            yield self._entry(each)

    async def dispose(self) -> None:
        problems = await self._block(empty_folder, self._folder, limit=REMOVE_TIME, doing="emptying the run's folder")
        if problems:
            raise TaskFailedInternally("\n".join(problems))

    def _entry(self, file: ArtifactFile) -> Entry:
        return Entry(file.name, file.size, lambda: self._stream(file))

    async def _stream(self, file: ArtifactFile) -> AsyncIterator[bytes]:
        block, root = self._block, self._files.root
        try:
            opened = await block(open_beneath, root, file.parts, limit=READ_TIME, doing="opening a file")
            try:
                while piece := await block(os.read, opened, READ_SIZE, limit=READ_TIME, doing="reading a file"):
                    yield piece
            finally:
                os.close(opened)
        except OSError as error:
            raise TaskFailedInternally(f"{file.name} could not be read: {error.strerror}") from None
