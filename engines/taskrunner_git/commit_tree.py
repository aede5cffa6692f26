"""The files of a commit, read from its packs."""

from __future__ import annotations

import difflib
import stat
from collections import OrderedDict
from collections.abc import Iterator, Mapping

import attrs

from taskrunner_git.failures import Broken, clone_failed, quoted
from taskrunner_git.files import FileEntry
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack import BLOB, TREE
from taskrunner_git.packs.tree_object import TreeItem, parse_tree
from taskrunner_git.times import FileTimes
from taskrunner_git.tree_changes import MAX_DEPTH, MAX_ENTRIES

_KEPT_TREES = 256
"""Parsed folders in the cache of `read`: more than the parts of a path, and little memory."""
_MAX_LINK = 4096
"""Bytes of a symbolic link's target: the longest path of Linux."""


class CommitTree:
    """A folder of a commit, with its submodules: a FileTree. Used from one thread, while its mirror is open.

    Executable files have mode 0755, others 0644. The modification times are those of `times`.
    """

    def __init__(
        self, objects: Objects, root: bytes, submodules: Mapping[str, CommitTree] | None = None, above: str = ""
    ) -> None:
        """`submodules` by their path: a commit names them, but does not hold them. A missing one is an empty
        folder. `above` is the path of this folder in the repository; it ends in `/`."""
        self.objects, self.root, self.above = objects, root, above
        self.times = FileTimes()
        self._submodules = dict(submodules or {})
        self._parsed: OrderedDict[bytes, dict[bytes, TreeItem]] = OrderedDict()
        self._opened: tuple[str, CommitTree, bytes] | None = None
        """The folder of the last file that was read: its path, its tree, and its id."""

    def entries(self) -> Iterator[FileEntry]:
        """All entries, in the order of a FileTree. Raises TaskFailed for a hostile repository; Broken, OSError."""
        changed = self.times.changed
        for count, entry in enumerate(self.walk("", self.root, 0, self.times.first)):
            if count >= MAX_ENTRIES:
                raise clone_failed(f"the commit has more than {MAX_ENTRIES} files")
            time = changed.get(self.above + entry.path) if changed else None
            yield entry if time is None else attrs.evolve(entry, mtime_ns=time)

    def read(self, path: str) -> Iterator[bytes]:
        """Raises FileNotFoundError, IsADirectoryError."""
        tree, item = self._locate(path)
        if not stat.S_ISREG(item.mode):
            raise IsADirectoryError(path)
        return tree.objects.stream(item.sha)

    def below(self, path: str) -> CommitTree:
        """A folder as the root of a tree of its own. Raises TaskFailed when it does not exist."""
        folder = path.strip("/")
        if not folder or folder == ".":
            return self
        parts = [part for part in folder.split("/") if part not in {"", "."}]
        if ".." in parts:
            raise clone_failed(f'the context "{quoted(path)}" leads out of the repository')
        tree = self
        for number, part in enumerate(parts):
            tree = tree.enter(part, "/".join(parts[:number]))
        tree.times, tree.above = self.times, self.above + "".join(f"{part}/" for part in parts)
        return tree

    def parts(self, above: str = "") -> Iterator[tuple[str, CommitTree]]:
        """This tree and its submodules, at every depth, by their paths."""
        yield above, self
        for path, tree in sorted(self._submodules.items()):
            yield from tree.parts(f"{above}/{path}".lstrip("/"))

    def _folder_names(self) -> list[str]:
        return [_text(item.name) for item in self.items(self.root).values() if item.is_folder or item.is_submodule]

    def submodule_paths(self) -> Iterator[tuple[str, str]]:
        """Path and commit of each submodule that the commit itself names."""
        return self._gitlinks("", self.root, 0)

    def check(self) -> None:
        """Looks for every object that is needed. Raises Broken when one is missing."""
        todo, seen = [self.root], {self.root}
        while todo:
            for item in self.items(todo.pop()).values():
                if item.is_submodule or item.sha in seen:
                    continue
                place = self.objects.find(item.sha)
                if place is None or place.kind != (TREE if item.is_folder else BLOB):
                    raise Broken(f"the object {item.sha.hex()} is missing")
                if item.is_folder:
                    seen.add(item.sha)
                    todo.append(item.sha)

    def walk(self, above: str, root: bytes, depth: int, time: int) -> Iterator[FileEntry]:
        """The entries of the folder `root`, at `depth`, all with this time in nanoseconds. Their paths begin with
        `above`, which ends in `/`."""
        if depth > MAX_DEPTH:
            raise clone_failed(f"the commit has folders more than {MAX_DEPTH} deep")
        items = self._parse(root)
        for item in sorted(items, key=lambda item: item.name):
            path = above + _text(item.name)
            yield self._entry(path, item, time)
            if item.is_folder:
                yield from self.walk(f"{path}/", item.sha, depth + 1, time)
            elif path in self._submodules:
                inner = self._submodules[path]
                for entry in inner.walk("", inner.root, depth + 1, time):
                    yield attrs.evolve(entry, path=f"{path}/{entry.path}")

    def _entry(self, path: str, item: TreeItem, time: int) -> FileEntry:
        if item.is_folder or item.is_submodule:
            return FileEntry(path, stat.S_IFDIR | 0o755, 0, time)
        place = self.objects.find(item.sha)
        if place is None:
            raise Broken(f"the object {item.sha.hex()} is missing")
        if stat.S_ISLNK(item.mode):
            if place.size > _MAX_LINK:
                raise clone_failed(f"the symbolic link {quoted(path)} is longer than a path may be")
            return FileEntry(path, stat.S_IFLNK | 0o777, 0, time, _text(self.objects.read(item.sha)[1]))
        return FileEntry(path, stat.S_IFREG | (0o755 if item.mode & 0o100 else 0o644), place.size, time)

    def _locate(self, path: str) -> tuple[CommitTree, TreeItem]:
        """Files are read folder by folder, so that the last folder is cached."""
        folder, _, name = path.rpartition("/")
        if self._opened is None or self._opened[0] != folder:
            self._opened = (folder, *self._open(folder, path))
        _, tree, root = self._opened
        return tree, tree.item(root, name, path)

    def _open(self, folder: str, path: str) -> tuple[CommitTree, bytes]:
        """The tree that a folder is in, and its id there. Raises FileNotFoundError for the whole path."""
        tree, root, inside = self, self.root, ""
        for part in folder.split("/") if folder else ():
            inside = f"{inside}/{part}".lstrip("/")
            root = tree.item(root, part, path).sha
            if inside in tree._submodules:
                tree = tree._submodules[inside]
                root, inside = tree.root, ""
        return tree, root

    def item(self, root: bytes, name: str, path: str) -> TreeItem:
        """An item of a folder by its name. Raises FileNotFoundError for the whole path."""
        item = self.items(root).get(name.encode("utf-8", "surrogateescape"))
        if item is None:
            raise FileNotFoundError(path)
        return item

    def enter(self, name: str, above: str) -> CommitTree:
        """The folder or submodule of that name. Raises TaskFailed, which names `above`, the path of this tree."""
        item = self.items(self.root).get(name.encode("utf-8", "surrogateescape"))
        if item is not None and item.is_submodule and name in self._submodules:
            return self._submodules[name]
        if item is None or not item.is_folder:
            raise clone_failed(_no_folder(name, above, self._folder_names()))
        inside = {path[len(name) + 1 :]: tree for path, tree in self._submodules.items() if path.startswith(f"{name}/")}
        return CommitTree(self.objects, item.sha, inside)

    def _gitlinks(self, above: str, root: bytes, depth: int) -> Iterator[tuple[str, str]]:
        if depth > MAX_DEPTH:
            raise clone_failed(f"the commit has folders more than {MAX_DEPTH} deep")
        for item in self._parse(root):
            path = above + _text(item.name)
            if item.is_submodule:
                yield path, item.sha.hex()
            elif item.is_folder:
                yield from self._gitlinks(f"{path}/", item.sha, depth + 1)

    def items(self, sha: bytes) -> dict[bytes, TreeItem]:
        """The items of a folder by name."""
        items = self._parsed.get(sha)
        if items is None:
            items = self._parsed[sha] = {item.name: item for item in self._parse(sha)}
            if len(self._parsed) > _KEPT_TREES:
                self._parsed.popitem(last=False)
        self._parsed.move_to_end(sha)
        return items

    def _parse(self, sha: bytes) -> list[TreeItem]:
        kind, data = self.objects.read(sha)
        if kind != TREE:
            raise Broken(f"{sha.hex()} is no folder")
        return list(parse_tree(data))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _no_folder(name: str, above: str, names: list[str]) -> str:
    where = f'"{above}" of the commit' if above else "the commit"
    near = difflib.get_close_matches(name, names, 3) or sorted(names)[:5]
    hint = f"; there {'is' if len(near) == 1 else 'are'} {', '.join(map(quoted, near))}" if near else ""
    return f'the context is not there: {where} has no folder "{quoted(name)}"{hint}'
