"""One caller at a time, of all workers on a home, fills a cache: the others find it full.

The lock is a file beside the copies of the cache. The kernel releases it when its holder dies.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from taskrunner.caches.folder_lease import on_disk
from taskrunner.files.file_lock import open_lock_file, try_lock
from taskrunner.files.private import make_private_folder

PAUSE = 0.2
"""Seconds between two looks at a lock that another worker has. A thread that waits for it could not be cancelled."""


@asynccontextmanager
async def filling(place: Path) -> AsyncIterator[None]:
    """Inside of this, no other process fills the cache whose copies are in `place`. Raises OSError."""
    file = await on_disk(partial(_open, place), f"opening the lock of {place.name}", discard=os.close)
    try:
        while not try_lock(file):  # noqa: ASYNC110  another process releases it, which sets no event
            await asyncio.sleep(PAUSE)
        yield
    finally:
        os.close(file)


def _open(place: Path) -> int:
    make_private_folder(place)
    return open_lock_file(place / "filling")
