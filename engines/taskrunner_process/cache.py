"""PlainFolder: a cache that is a folder on disk, and how a run gets to see it."""

from __future__ import annotations

import asyncio
import logging
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

from taskrunner.files.untrusted import empty_folder, walk
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.interfaces.results import READ_SIZE

logger = logging.getLogger(__name__)

BLOCK = 512
"""Bytes that `st_blocks` counts in, by POSIX."""


class PlainFolder(CacheFolder):
    """Nothing but the folder."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path

    async def archive(self) -> AsyncIterator[bytes]:
        """Written into a pipe by a thread, which ends when the reader goes away."""
        reading, writing = os.pipe()
        work = asyncio.create_task(asyncio.to_thread(pack, self.path, writing))
        try:
            while piece := await asyncio.to_thread(os.read, reading, READ_SIZE):
                yield piece
        finally:
            os.close(reading)
            await work

    async def size(self) -> int:
        return await asyncio.to_thread(measure, self.path)

    async def delete(self) -> None:
        for problem in await asyncio.to_thread(remove, self.path):
            logger.warning("cache %s: %s", self.name, problem)


def pack(folder: Path, writing: int) -> None:
    """Writes a tar stream, and closes the descriptor. A reader who has gone is no error."""
    try:
        with os.fdopen(writing, "wb") as pipe, tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for entry in sorted(walk(folder), key=lambda each: each.path):
                tar.add(entry.path, os.path.relpath(entry.path, folder), recursive=False)
    except BrokenPipeError:
        return


def measure(folder: Path) -> int:
    """Bytes on disk; a file with several names counts once."""
    sizes = {
        (status.st_dev, status.st_ino): status.st_blocks * BLOCK for status in map(_status, walk(folder)) if status
    }
    return sum(sizes.values())


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None


def remove(folder: Path) -> list[str]:
    """Removes a folder with everything in it: a line for each thing that is still there."""
    problems = empty_folder(folder)
    if not problems and folder.exists():
        try:
            folder.rmdir()
        except OSError as error:
            return [f"{folder}: {error.strerror}"]
    return problems
