"""The names that are local only while they are pushed, recorded on disk for crash recovery.

Docker pushes an image by a local name, and a name carries no labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.cleanup.removal import remove_tag

T = TypeVar("T")
_DISK_LIMIT = 30.0
"""Seconds for a file of a few bytes. A call that is cancelled is waited for as long."""


@attrs.frozen
class PushRecords:
    """The records of one worker: a file for each name, in a folder of its own."""

    client: DockerClient
    folder: Path

    @asynccontextmanager
    async def recorded(self, tag: str) -> AsyncIterator[None]:
        """Within the context the name is local, for a push; then it is removed. Raises TaskFailedInternally."""
        record = self.folder / hashlib.sha256(tag.encode()).hexdigest()
        await _on_disk(f"{record} cannot be written", lambda: _write(record, tag))
        try:
            yield
        finally:
            await remove_tag(self.client, tag)
            await _on_disk(f"{record} cannot be removed", partial(record.unlink, missing_ok=True))

    async def remove_all(self) -> list[str]:
        """Removes the names that are recorded. Returns a line for each, as `Platform.clean_up_after` does."""
        lines = []
        try:
            found = await _on_disk(f"{self.folder} cannot be read", lambda: _read(self.folder))
        except TaskFailedInternally as error:
            return [str(error)]
        for record, tag in found:
            try:
                await remove_tag(self.client, tag)
                await _on_disk(f"{record} cannot be removed", partial(record.unlink, missing_ok=True))
                lines.append(f"removed the image name {tag}, which was being pushed")
            except TaskFailedInternally as error:
                lines.append(f"the image name {tag} could not be removed: {error}")
        return lines


async def _on_disk(failure: str, work: Callable[[], T]) -> T:
    """Raises TaskFailedInternally, with the failure's name."""
    try:
        return await run_blocking(work, limit=_DISK_LIMIT, doing="the disk", grace=_DISK_LIMIT)
    except OSError as error:
        raise TaskFailedInternally(f"push: {failure}: {error}") from error


def _write(record: Path, tag: str) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(tag)


def _read(folder: Path) -> list[tuple[Path, str]]:
    return [(record, record.read_text()) for record in sorted(folder.glob("*"))]
