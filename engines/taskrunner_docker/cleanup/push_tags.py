"""Which names are local only because they are being pushed: noted on disk, so that a dead worker's are found.

Docker pushes an image by a name that it must have locally, and a name carries no labels.
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
class PushNotes:
    """The notes of one worker: a file for each name, in a folder of its own."""

    client: DockerClient
    folder: Path

    @asynccontextmanager
    async def noted(self, tag: str) -> AsyncIterator[None]:
        """Within, the name is local for a push; afterwards it is gone. Raises TaskFailedInternally."""
        note = self.folder / hashlib.sha256(tag.encode()).hexdigest()
        await _on_disk(f"{note} cannot be written", lambda: _write(note, tag))
        try:
            yield
        finally:
            await remove_tag(self.client, tag)
            await _on_disk(f"{note} cannot be removed", partial(note.unlink, missing_ok=True))

    async def remove_all(self) -> list[str]:
        """Takes away the names that are noted. A line for each, as `Platform.clean_up_after` gives."""
        lines = []
        for note, tag in await _on_disk(f"{self.folder} cannot be read", lambda: _read(self.folder)):
            try:
                await remove_tag(self.client, tag)
                await _on_disk(f"{note} cannot be removed", partial(note.unlink, missing_ok=True))
                lines.append(f"removed the image name {tag}, which was being pushed")
            except TaskFailedInternally as error:
                lines.append(f"the image name {tag} could not be removed: {error}")
        return lines


async def _on_disk(failure: str, work: Callable[[], T]) -> T:
    """Raises TaskFailedInternally, with the failure's name."""
    try:
        return await run_blocking(work, limit=_DISK_LIMIT, doing="it", grace=_DISK_LIMIT)
    except OSError as error:
        raise TaskFailedInternally(f"push: {failure}: {error}") from error


def _write(note: Path, tag: str) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(tag)


def _read(folder: Path) -> list[tuple[Path, str]]:
    return [(note, note.read_text()) for note in sorted(folder.glob("*"))]
