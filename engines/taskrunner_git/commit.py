"""A commit that was fetched."""

from __future__ import annotations

from collections.abc import Iterator

from taskrunner_git.commit_tree import CommitTree
from taskrunner_git.files import FileEntry
from taskrunner_git.packs.mirror import Mirror


class Commit:
    """A commit as a FileTree. Its files are read from the mirror: `close` it before that is given back.

    Used from one thread at a time. `entries` and `read` raise TaskFailed for what no honest repository has, and
    OSError.
    """

    def __init__(self, sha: str, url: str, tree: CommitTree, mirrors: list[Mirror]) -> None:
        self.sha = sha
        """Its full id, 40 digits."""
        self.url = url
        """Where it came from, without credentials."""
        self._tree, self._mirrors = tree, mirrors

    def entries(self) -> Iterator[FileEntry]:
        return self._tree.entries()

    def read(self, path: str) -> Iterator[bytes]:
        return self._tree.read(path)

    def below(self, path: str) -> CommitTree:
        """A folder in it as a context of its own; valid until `close`. Raises TaskFailed, naming what there is
        instead."""
        return self._tree.below(path)

    def close(self) -> None:
        """A second call does nothing."""
        for mirror in self._mirrors:
            mirror.close()
