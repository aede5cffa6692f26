"""PlainFolder: a cache that is a folder on disk."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.files.results import LIST_TIME, REMOVE_TIME
from taskrunner.files.untrusted import remove_folder, walk
from taskrunner.interfaces.caches import CacheFolder

logger = logging.getLogger(__name__)

BLOCK = 512
"""Bytes that `st_blocks` counts in, by POSIX."""


class PlainFolder(CacheFolder):
    """A cache that has nothing beside its folder."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path

    async def size(self) -> int:
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
