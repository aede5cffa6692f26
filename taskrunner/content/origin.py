"""ContentOrigin: where the content of a mount comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.connections import Connections
from taskrunner.content.refusal import refused
from taskrunner.errors import TaskFailedInternally, local_failure
from taskrunner.files.allowed_path import open_allowed
from taskrunner.files.archives.refusal import shown
from taskrunner.files.checksum import sha256_of
from taskrunner.files.download import MAX_SIZE
from taskrunner.files.downloads.location import Location
from taskrunner.files.downloads.run_download import download_for_run
from taskrunner.files.private import write_private_file
from taskrunner.interfaces.platform import RunContext

COPY_LIMIT = 1800.0
"""Seconds to copy a file of this machine: the largest one, from a slow disk."""
GRACE = 10.0
"""Seconds that a cancelled copy waits for its thread, which stops at the next piece."""


class ContentOrigin(ABC):
    """One content before it is fetched."""

    @property
    @abstractmethod
    def key(self) -> tuple[str, ...]:
        """What it is known by to later runs: the same key is the same content, for those who may have it. Empty: it is
        for one run."""

    @abstractmethod
    async def save(self, context: RunContext, target: Path) -> None:
        """Writes it to a new file, whose checksum is right, and says in the log of the run what it does. After an error
        the file may hold a part of it.

        Raises: TaskFailed, TaskFailedInternally, Unavailable.
        """


@attrs.frozen
class TextOrigin(ContentOrigin):
    """A text of the task itself."""

    text: str = attrs.field(repr=False)

    @property
    def key(self) -> tuple[str, ...]:
        return ()

    async def save(self, context: RunContext, target: Path) -> None:
        context.log.say("mounts: writing a text of the task")
        await copying(partial(write_private_file, target, self.text.encode()), "a text", Connections())


@attrs.frozen
class UrlOrigin(ContentOrigin):
    """A download. It belongs to the credentials that it was made with: without them, a task could read a private file
    by its checksum. A query is often a signature, and counts as one."""

    location: Location
    sha256: str

    @property
    def key(self) -> tuple[str, ...]:
        return "url", self.location.url, self.location.authorization, self.sha256

    async def save(self, context: RunContext, target: Path) -> None:
        await download_for_run(context, self.location, target, self.sha256, label="mounts")


@attrs.frozen
class FileOrigin(ContentOrigin):
    """A file of this machine, which others may write to meanwhile. With a checksum, its copy is kept."""

    allowed: tuple[str, ...]
    """Folders of this machine, and single files, that tasks may mount files of."""
    path: str
    sha256: str

    @property
    def key(self) -> tuple[str, ...]:
        return ("file", self.path, self.sha256) if self.sha256 else ()

    async def save(self, context: RunContext, target: Path) -> None:
        context.log.say(f"mounts: copying {shown(self.path)}")
        connections = Connections()
        await copying(partial(self._copy, target, connections), "a file", connections)

    def check(self) -> None:
        """Raises TaskFailed for a file that this worker does not allow. Blocks."""
        self._open().close()

    def _open(self) -> BinaryIO:
        return open_allowed(self.path, self.allowed, "[source] files", refused)

    def _copy(self, target: Path, connections: Connections) -> None:
        name = shown(self.path)
        with self._open() as file, target.open("xb") as copy:
            copied = 0

            def write(piece: bytes) -> None:
                nonlocal copied
                copied += copy.write(piece)
                if copied > MAX_SIZE:
                    raise refused(f"{name} has more than {MAX_SIZE} bytes")

            check_sum(name, sha256_of(file, connections, write), self.sha256)


def check_sum(name: str, found: str, wanted: str) -> None:
    """Raises TaskFailed. An empty `wanted` is any checksum."""
    if wanted and found != wanted.lower():
        raise refused(f"{name} has the sha256 {found}, and not {wanted.lower()}")


async def copying(work: Callable[[], None], what: str, connections: Connections) -> None:
    """Writes a file in a thread. Raises the errors of `work`, TaskFailedInternally for those of the disk."""
    try:
        await run_blocking(
            work, limit=COPY_LIMIT, doing=f"copying {what}", interrupt=connections.interrupt, grace=GRACE
        )
    except OverLimit as error:
        raise TaskFailedInternally(f"mounts: {error}") from None
    except OSError as error:
        raise local_failure(f"mounts: {what} could not be copied: {error.strerror}", error) from None
