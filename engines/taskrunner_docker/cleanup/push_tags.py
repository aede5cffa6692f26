"""Which names are local only because they are being pushed: noted on disk, so that a dead worker's are found.

Docker pushes an image by a name that it must have locally, and a name carries no labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from taskrunner.errors import TaskFailedInternally
from taskrunner_docker.api.client import Daemon
from taskrunner_docker.cleanup.removal import remove_tag


@attrs.frozen
class PushNotes:
    """The notes of one worker: a file for each name, in a folder of its own."""

    daemon: Daemon
    folder: Path

    @asynccontextmanager
    async def noted(self, tag: str) -> AsyncIterator[None]:
        """Within, the name is local for a push; afterwards it is gone. Raises TaskFailedInternally."""
        note = self.folder / hashlib.sha256(tag.encode()).hexdigest()
        await self.daemon.thread(_write, note, tag)
        try:
            yield
        finally:
            await remove_tag(self.daemon, tag)
            await self.daemon.thread(note.unlink, missing_ok=True)

    async def remove_all(self) -> list[str]:
        """Takes away the names that are noted. A line for each, as `Platform.clean_up_after` gives."""
        lines = []
        for note, tag in await self.daemon.thread(_read, self.folder):
            try:
                await remove_tag(self.daemon, tag)
                await self.daemon.thread(note.unlink, missing_ok=True)
                lines.append(f"removed the image name {tag}, which was being pushed")
            except TaskFailedInternally as error:
                lines.append(f"the image name {tag} could not be removed: {error}")
        return lines


def _write(note: Path, tag: str) -> None:
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(tag)
    except OSError as error:
        raise TaskFailedInternally(f"push: {note} cannot be written: {error}") from error


def _read(folder: Path) -> list[tuple[Path, str]]:
    return [(note, note.read_text()) for note in sorted(folder.glob("*"))]
