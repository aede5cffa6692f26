"""PlainFolder: a cache that is a folder on disk."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.files.results import LIST_TIME, REMOVE_TIME
from taskrunner.files.untrusted import remove_folder, walk
from taskrunner.interfaces.caches import CacheFolder, CacheUsage

logger = logging.getLogger(__name__)

BLOCK = 512
"""Bytes that `st_blocks` counts in, by POSIX."""


class PlainFolder(CacheFolder):
    """A cache that has nothing beside its folder."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path

    async def usage(self) -> CacheUsage:
        return await run_blocking(partial(measure, self.path), limit=LIST_TIME, doing=f"measuring cache {self.name}")

    async def delete(self) -> None:
        try:
            problems = await run_blocking(
                partial(remove_folder, self.path), limit=REMOVE_TIME, doing=f"removing {self.path}"
            )
        except OverLimit as error:
            problems = [str(error)]
        for problem in problems:
            logger.warning("cache %s: %s", self.name, problem)


def measure(folder: Path) -> CacheUsage:
    """Of a sparse file, the bytes that it takes; a file with several names counts once. Blocks."""
    taken = {(found.status.st_dev, found.status.st_ino): found.status.st_blocks * BLOCK for found in walk(folder)}
    return CacheUsage(sum(taken.values()), len(taken))
