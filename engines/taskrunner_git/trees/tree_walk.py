"""A walk through the folders of a commit, with the attributes of each."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from taskrunner_git.attributes.conversion import Conversion
from taskrunner_git.attributes.lookup import Attributes
from taskrunner_git.failures import clone_failed, quoted
from taskrunner_git.files import FileEntry
from taskrunner_git.packs.tree_object import TreeItem
from taskrunner_git.trees.tree_changes import MAX_DEPTH

if TYPE_CHECKING:
    from taskrunner_git.trees.commit_tree import CommitTree

_POINTER, _MAX_POINTER = b"version https://git-lfs.github.com/spec/", 1024
"""The begin of a pointer, and its size in bytes at most: by the specification of git LFS."""
_MAX_NAMED = 5
MAX_LINK = 4095
"""Bytes of a path, and of a symbolic link's target: PATH_MAX of Linux without its end."""


@attrs.frozen
class Folder:
    """A folder of a repository."""

    tree: CommitTree
    """The tree that it is in; a submodule has one of its own."""
    root: bytes
    inside: str
    """Its path in the repository; empty, or with a `/` at its end."""
    attributes: Attributes

    def enter(self, name: str, root: bytes) -> Folder:
        inside = f"{self.inside}{name}/"
        return Folder(self.tree, root, inside, self.tree.attributes_in(root, inside, self.attributes))

    def conversion(self, name: bytes) -> Conversion:
        return self.attributes.of(self.inside.encode("utf-8", "surrogateescape") + name)


@attrs.frozen
class Walk:
    """One walk through all entries."""

    time: int
    """Nanoseconds: the time of every entry."""
    pointers: list[str]
    """The files that are pointers to git LFS."""
    _sizes: dict[tuple[bytes, Conversion], int] = attrs.field(factory=dict, init=False)
    """Of converted contents: a hostile repository can name one large file a million times."""

    def folder(self, above: str, folder: Folder, depth: int) -> Iterator[FileEntry]:
        """The entries of a folder, at `depth`. Their paths begin with `above`, which ends in `/`."""
        if depth > MAX_DEPTH:
            raise clone_failed(f"the commit has folders more than {MAX_DEPTH} deep")
        for name, item in sorted(folder.tree.items(folder.root).items()):
            path = above + _text(name)
            if len(path) > MAX_LINK:
                raise clone_failed(f"the commit has a path of more than {MAX_LINK} bytes: {quoted(path)}")
            yield self._entry(path, folder, item)
            if item.is_folder:
                yield from self.folder(f"{path}/", folder.enter(_text(name), item.sha), depth + 1)
            elif item.is_submodule:
                inside = f"{folder.inside}{_text(name)}".removeprefix(folder.tree.inside)
                module = folder.tree.submodule(inside)
                if module:
                    yield from self.folder(f"{path}/", module.here(), depth + 1)

    def _entry(self, path: str, folder: Folder, item: TreeItem) -> FileEntry:
        if item.is_folder or item.is_submodule:
            return FileEntry(path, stat.S_IFDIR | 0o755, 0, self.time)
        tree = folder.tree
        place = tree.found(item.sha)
        if stat.S_ISLNK(item.mode):
            return FileEntry(path, stat.S_IFLNK | 0o777, 0, self.time, self._target(path, tree, item, place.size))
        conversion, size = folder.conversion(item.name), place.size
        if conversion.is_lfs and size <= _MAX_POINTER and tree.objects.read(item.sha)[1].startswith(_POINTER):
            self.pointers.append(path)
        if conversion.changes:
            size = self._converted_size(path, tree, item, conversion)
        return FileEntry(path, stat.S_IFREG | (0o755 if item.mode & 0o100 else 0o644), size, self.time)

    def _target(self, path: str, tree: CommitTree, item: TreeItem, size: int) -> str:
        """Where a symbolic link leads. Raises TaskFailed for one that no disk can have, or that git refuses."""
        if size > MAX_LINK:
            raise clone_failed(f"the symbolic link {quoted(path)} is longer than a path may be")
        if item.name.lower() == b".gitmodules":
            raise clone_failed(f"the file {quoted(path)} is a symbolic link, which git refuses")
        target = tree.objects.read(item.sha)[1]
        if not target or b"\0" in target:
            what = "has a zero byte in it" if target else "is empty"
            raise clone_failed(f"the symbolic link {quoted(path)} {what}")
        return _text(target)

    def _converted_size(self, path: str, tree: CommitTree, item: TreeItem, conversion: Conversion) -> int:
        key = (item.sha, conversion)
        if key not in self._sizes:
            self._sizes[key] = len(tree.converted(path, item, conversion))
        return self._sizes[key]


def say_pointers(paths: list[str]) -> str:
    """The line of the log for these paths."""
    more = len(paths) - _MAX_NAMED
    names = ", ".join(map(quoted, paths[:_MAX_NAMED])) + (f" and {more} more" if more > 0 else "")
    what = "1 file is" if len(paths) == 1 else f"{len(paths)} files are"
    return f"{what} kept in git LFS, and here as pointers without the contents: {names}"


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
