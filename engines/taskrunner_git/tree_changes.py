"""What changed from one tree of a repository to another."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from taskrunner_git.failures import clone_failed

if TYPE_CHECKING:
    from taskrunner_git.commit_tree import CommitTree
    from taskrunner_git.packs.tree_object import TreeItem

MAX_DEPTH = 128
"""Folders within folders. The deepest trees of well-known projects have about 20."""
MAX_ENTRIES = 1_000_000
"""Files and folders of one tree. A hostile repository of a few kilobytes can name billions; the largest known
trees have about half a million."""


@attrs.frozen
class Changes:
    """Full paths in a repository."""

    changed: set[str] = attrs.field(factory=set)
    """Files and links whose content is another or new, and the folders above them."""
    gone: set[str] = attrs.field(factory=set)

    def removed(self, path: str) -> bool:
        """Whether the path, or a folder above it, is gone."""
        return bool(self.gone) and any(part in self.gone for part in _upwards(path))


def compare(tree: CommitTree, before: Mapping[str, str]) -> Changes:
    """`before` has the ids of the root folders of the earlier tree, by the path of each submodule. Its folders must be
    among the objects of `tree`. Raises Broken otherwise; TaskFailed for a hostile repository."""
    comparison = _Comparison()
    parts = dict(tree.parts())
    for path, part in parts.items():
        root = before.get(path)
        comparison.folders(part, path, part.root, bytes.fromhex(root) if root else None, 0)
    comparison.changes.gone.update(before.keys() - parts.keys())
    return comparison.changes


class _Comparison:
    def __init__(self) -> None:
        self.changes = Changes()

    def folders(self, part: CommitTree, path: str, new: bytes, old: bytes | None, depth: int) -> None:
        if new == old:
            return
        if depth > MAX_DEPTH:
            raise clone_failed(f"the commit has folders more than {MAX_DEPTH} deep")
        self._add(path)
        before = dict(part.items(old)) if old else {}
        for name, item in part.items(new).items():
            inner = f"{path}/{name.decode('utf-8', 'surrogateescape')}".lstrip("/")
            other = before.pop(name, None)
            if item.is_folder:
                self.folders(part, inner, item.sha, other.sha if other and other.is_folder else None, depth + 1)
            elif other is None or _content(item) != _content(other):
                self._add(inner)
        self.changes.gone.update(f"{path}/{name.decode('utf-8', 'surrogateescape')}".lstrip("/") for name in before)

    def _add(self, path: str) -> None:
        self.changes.changed.add(path)
        if len(self.changes.changed) > MAX_ENTRIES:
            raise clone_failed(f"the commit has more than {MAX_ENTRIES} files")


def _content(item: TreeItem) -> tuple[int, bytes]:
    """Another mode of a file is no other content."""
    return stat.S_IFMT(item.mode), item.sha


def _upwards(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]
