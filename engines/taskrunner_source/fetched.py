"""FetchedSource: the files of a source, to be read without a checkout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from taskrunner_git import FileTree

Owner = tuple[int, int]
"""User and group."""


@attrs.frozen
class Provenance:
    """Where the files are from, for people who find what was made of them. It holds no credentials."""

    url: str = ""
    """Of the repository or archive, without credentials and query; empty for a path of this machine."""
    revision: str = ""
    """The id of the commit; empty for an archive."""
    created: datetime | None = None
    """When the commit was made, in UTC; None for an archive."""


class FetchedSource(ABC):
    """The source of one run. The caller of `fetch_source` releases it."""

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, str]:
        """What exactly was fetched, for the result of the run: `{"commit": …}`, or `{"sha256": …}` of an archive."""

    @property
    @abstractmethod
    def provenance(self) -> Provenance:
        """The same for people, with the place and the time."""

    @property
    @abstractmethod
    def times_key(self) -> str:
        """Names the memory that the times of the files are from: BuildKit compares the times of one key alone. Two
        contents of one path never share size and time under one key."""

    @property
    def state(self) -> str:
        """Names all files with their times and modes, under `times_key`: with an equal state no list of `files` has
        changed. Empty where that is not known."""
        return ""

    @abstractmethod
    async def files(self, path: str, *, keep_git: bool = False) -> FileTree:
        """The folder at `path` as a tree, valid until `release`; links on its way are followed. With `keep_git`, and
        `path` the root, it has a `.git` with the commit.

        Raises: TaskFailed (there is no such folder; the text names similar ones), MalformedPayload (an archive has no
        `.git`), TaskFailedInternally.
        """

    @abstractmethod
    async def release(self) -> None:
        """Nothing is read any more. May be called again."""
