"""What changed from one tree of a repository to another."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from taskrunner.interfaces.source import SourceLimits
from taskrunner_git.attributes.conversion import Conversion
from taskrunner_git.attributes.lookup import Attributes
from taskrunner_git.failures import clone_failed, too_much

if TYPE_CHECKING:
    from taskrunner_git.packs.tree_object import TreeItem
    from taskrunner_git.trees.commit_tree import CommitTree

MAX_DEPTH = 128
"""Folders within folders. The deepest trees of well-known projects have about 20."""


@attrs.frozen
class TreeChanges:
    """Full paths in a repository."""

    changed: set[str] = attrs.field(factory=set)
    """Files and links whose content is another or new, and the folders above them."""
    gone: set[str] = attrs.field(factory=set)

    def removed(self, path: str) -> bool:
        """Whether the path, or a folder above it, is gone."""
        return bool(self.gone) and any(part in self.gone for part in _upwards(path))


def compare(tree: CommitTree, before: Mapping[str, str]) -> TreeChanges:
    """`before` has the ids of the root folders of the earlier tree, by the path of each submodule. Its folders must be
    among the objects of `tree`. Raises Broken otherwise; TaskFailed for a hostile repository."""
    comparison = _Comparison(tree.objects.limits)
    parts = dict(tree.parts())
    for path, part in parts.items():
        root = before.get(path)
        comparison.folders(part, path, Side(part.root), Side(bytes.fromhex(root)) if root else None, 0)
    comparison.changes.gone.update(before.keys() - parts.keys())
    return comparison.changes


@attrs.frozen
class Side:
    """A folder, before or after."""

    root: bytes
    attributes: Attributes = attrs.field(factory=Attributes)
    """Those of the folders above."""
    inside: str = ""
    """Its path in its repository; empty, or with a `/` at its end."""

    def entered(self, part: CommitTree) -> Side:
        """With the attributes of the folder itself."""
        return attrs.evolve(self, attributes=part.attributes_in(self.root, self.inside, self.attributes))

    def below(self, item: TreeItem) -> Side:
        return Side(item.sha, self.attributes, f"{self.inside}{_text(item.name)}/")

    def content(self, item: TreeItem) -> tuple[int, bytes, Conversion]:
        """Another mode of a file is no other content, but another conversion is one."""
        path = self.inside.encode("utf-8", "surrogateescape") + item.name
        return stat.S_IFMT(item.mode), item.sha, self.attributes.of(path)


class _Comparison:
    def __init__(self, limits: SourceLimits) -> None:
        self.changes = TreeChanges()
        self._limits = limits
        self._count = 0
        """Names that were compared: of a folder with equal files, only the attributes may have changed."""

    def folders(self, part: CommitTree, path: str, new: Side, old: Side | None, depth: int) -> None:
        """Compares a folder, whose full path is `path`."""
        if new == old:
            return
        if depth > MAX_DEPTH:
            raise clone_failed(f"the commit has folders more than {MAX_DEPTH} deep")
        if old is None or new.root != old.root:
            self._add(path)
        new, old = new.entered(part), old.entered(part) if old else None
        before = dict(part.items(old.root)) if old else {}
        self._count_names(part, len(before))
        items = part.items(new.root)
        self._count_names(part, len(items))
        for name, item in items.items():
            inner = f"{path}/{_text(name)}".lstrip("/")
            other = before.pop(name, None)
            if item.is_folder:
                was = old.below(other) if old and other and other.is_folder else None
                self.folders(part, inner, new.below(item), was, depth + 1)
            elif old is None or other is None or new.content(item) != old.content(other):
                self._add(inner)
        self.changes.gone.update(f"{path}/{_text(name)}".lstrip("/") for name in before)

    def _add(self, path: str) -> None:
        self.changes.changed.add(path)

    def _count_names(self, part: CommitTree, count: int) -> None:
        """Raises TaskFailed for too many, and the error of an interrupted fetch."""
        part.objects.spend(0)
        self._count += count
        if self._count > 2 * self._limits.files:  # of both trees
            raise too_much("the commit", "files", self._limits)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _upwards(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]
