"""A commit that was fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

from taskrunner_git.files import FileEntry
from taskrunner_git.packs.mirror import Mirror
from taskrunner_git.trees.commit_tree import CommitTree
from taskrunner_git.trees.times import committed_at


class Commit:
    """A commit as a FileTree. Its files are read from the mirror: close the commit before the mirror is released.

    Used from one thread at a time. `entries` and `read` raise TaskFailed for a hostile repository, and OSError.
    """

    def __init__(self, sha: str, url: str, tree: CommitTree, mirrors: list[Mirror]) -> None:
        self.sha = sha
        """The full id, 40 hex digits."""
        self.url = url
        """The repository, without credentials."""
        self._tree, self._mirrors = tree, mirrors

    @property
    def tree(self) -> CommitTree:
        """The same files, with the ids of their objects."""
        return self._tree

    @property
    def committed(self) -> datetime:
        """When it was made, in UTC; from 1980 to 2100, whatever the commit says."""
        return datetime.fromtimestamp(committed_at(self._tree.objects, self.sha) // 10**9, UTC)

    @property
    def times_key(self) -> str:
        """Names the memory of the files' times: BuildKit compares times of one key alone."""
        return self._tree.times.key

    @property
    def state(self) -> str:
        """Names the list of files with their times, and the limits that it keeps: equal states have equal lists."""
        limits = repr(self._tree.objects.limits)
        return hashlib.sha256(f"{self._tree.times.state}\0{limits}".encode()).hexdigest()

    def entries(self) -> Iterator[FileEntry]:
        return self._tree.entries()

    def read(self, path: str) -> Iterator[bytes]:
        return self._tree.read(path)

    def below(self, path: str) -> CommitTree:
        """A folder as a tree of its own, valid until `close`. Raises TaskFailed, which names the folders that
        exist."""
        return self._tree.below(path)

    def close(self) -> None:
        """A second call does nothing."""
        for mirror in self._mirrors:
            mirror.close()
