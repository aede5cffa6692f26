"""Results: exit code, reason and files of a run that has ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from types import MappingProxyType

import attrs

from taskrunner.errors import NotSupported
from taskrunner.model import Document

READ_SIZE = 1 << 18
"""Bytes at a time when a file is streamed: large enough that the cost of a step does not show."""


@attrs.frozen
class Entry:
    """A regular file among the results, or an archive of a folder."""

    name: str
    """Its path with `/`, relative to the folder that was asked for; for a single file, its last part."""
    size: int | None
    """Bytes, as of now; None of an archive, which is made while it is read."""
    read: Callable[[], AsyncIterator[bytes]]
    """Streams the contents, from the beginning with each call, since a store may fail in the middle. Valid until the
    results are disposed of, or the next entry is asked for."""


class Results(ABC):
    """Everything about a run that has ended, until `dispose`."""

    exit_code: int
    """The command's; 128 plus the signal's number when a signal ended it. A build has 0 or 1."""
    reason: str = ""
    """A short stable word when it did not succeed and the exit code does not say why: `build-failed`."""
    message: str = ""
    """The same as a text: which step, why, and what to do."""
    details: Document = MappingProxyType({})
    """How it ran, as JSON values for the run's `result`, also after a failure: its `steps`."""

    @abstractmethod
    async def archive_file(self, path: str) -> Entry:
        """One file. Links that lead out of the run's folder are not followed.

        Raises: FileNotFoundError, IsADirectoryError, PermissionError (a link that leaves), TaskFailedInternally,
            Unavailable (RunLost: what has the files is gone).
        """

    @abstractmethod
    def archive_folder(self, path: str) -> AsyncIterator[Entry]:
        """All regular files below a folder, in the order of their names; what is behind links may come after all
        others. A link that leaves the run's folder is left out and named in the log.

        Raises: FileNotFoundError, NotADirectoryError, PermissionError (a link that leaves), TaskFailedInternally,
            Unavailable.
        """

    async def archive(self, path: str = ".") -> Entry:
        """A folder with everything in it as one tar stream, never in memory: folders, regular files, and symbolic links
        as links, wherever they lead. `.` is everything that the run has left. Other kinds of files may be left out, and
        are named in the log then. Members are named relative to the folder.

        Raises: FileNotFoundError, NotADirectoryError, PermissionError (a link that leaves), NotSupported (the default),
            TaskFailedInternally.
        """
        raise NotSupported("an archive of a folder")

    async def deliver(self) -> Document:
        """Delivers what the engine itself must deliver: pushes the image. Returns a description of it as JSON values,
        for the run's `result`. Called after a success only, and once; by default there is nothing.

        Raises: TaskFailed, TaskFailedInternally, Unavailable.
        """
        return {}

    @abstractmethod
    async def dispose(self) -> None:
        """Removes everything that is left of the run. May be called again.

        Raises: TaskFailedInternally with a line for each thing that could not be removed.
        """
