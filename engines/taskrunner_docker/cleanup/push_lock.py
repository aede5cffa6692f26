"""One push of a name at a time, of all workers of a home.

A lock on a file, which the kernel releases when a worker dies. Within one process it excludes as well.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally
from taskrunner.files.file_lock import is_at, open_lock_file, try_lock
from taskrunner.files.private import make_private_folder
from taskrunner_docker.registry.references import Reference

INTERVAL = 0.2
"""Seconds between two tries to lock a name that is being pushed."""
LIMIT = 30.0
"""Seconds for a call to the disk."""


@attrs.frozen
class PushLock:
    """The locks are files in one folder."""

    folder: Path

    @asynccontextmanager
    async def held(self, tag: str) -> AsyncIterator[None]:
        """Within the context nobody else pushes the name. Raises TaskFailedInternally."""
        path = self._path(tag)
        locking = partial(_lock, path)
        while (file := await run_blocking(locking, limit=LIMIT, doing="a lock", discard=_close, error=_error)) < 0:  # noqa: ASYNC110  a lock of a file gives no notice
            await asyncio.sleep(INTERVAL)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(file)

    async def wait(self, image: str) -> None:
        """Returns when nobody pushes an image of this name: meanwhile the name is that image's, perhaps a stranger's.
        Raises TaskFailedInternally."""
        path = self._path(image)
        looking = partial(_is_locked, path)
        while path.exists() and await run_blocking(looking, limit=LIMIT, doing="a lock", error=_error):  # noqa: ASYNC110  as above
            await asyncio.sleep(INTERVAL)

    def _path(self, tag: str) -> Path:
        return self.folder / f"{Reference.parse(tag).file_name}.lock"


def _lock(path: Path) -> int:
    """The open file with the lock on it; -1 when another push has it. Raises TaskFailedInternally."""
    try:
        make_private_folder(path.parent)
        file = open_lock_file(path)
    except OSError as error:
        raise _error(f"{path} cannot be made: {error.strerror}") from error
    with suppress(OSError):
        if try_lock(file) and is_at(file, path):  # else it was removed at the end of a push
            return file
    os.close(file)
    return -1


def _is_locked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_lock(file, shared=True)
    finally:
        os.close(file)


def _close(late: int) -> None:
    if late >= 0:
        os.close(late)


def _error(text: str) -> TaskFailedInternally:
    return TaskFailedInternally(f"push: {text}")
