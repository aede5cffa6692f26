"""The files of a commit, read from its packs."""

from __future__ import annotations

import difflib
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping

import attrs

from taskrunner_git.attributes.conversion import Conversion, Unsupported
from taskrunner_git.attributes.lookup import NAME, Attributes
from taskrunner_git.failures import Broken, clone_failed, quoted, too_much
from taskrunner_git.files import MAX_SMALL_FILE, FileEntry
from taskrunner_git.origin import Origin
from taskrunner_git.packs.index import Place
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack import BLOB, TREE
from taskrunner_git.packs.tree_object import TreeItem, parse_tree
from taskrunner_git.trees.folder_path import find_folder
from taskrunner_git.trees.times import FileTimes
from taskrunner_git.trees.tree_changes import MAX_DEPTH
from taskrunner_git.trees.tree_walk import MAX_LINK, Folder, Walk, say_pointers

_KEPT_TREES = 256
"""Parsed folders in the cache of `read`: more than the parts of a path, and little memory."""
_MAX_CONVERTED = 64 << 20
"""Bytes of a file that is converted, which happens in memory. The largest texts of known repositories have a tenth."""


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
        self.attributes = Attributes()
        """Those of the folders above, in the repository that this folder belongs to."""
        self.inside = ""
        """The path of this folder there; it ends in `/`."""
        self.say: Callable[[str], None] = _say_nothing
        self.origin: Origin | None = None
        """Of the root of a commit, and of each submodule."""
        self._submodules = dict(submodules or {})
        self._parsed: OrderedDict[bytes, dict[bytes, TreeItem]] = OrderedDict()
        self._without_submodules: set[bytes] = set()
        """Folders that are not searched again: a few can stand for billions."""
        self._searched = 0
        """Names in the folders that were searched for submodules: those with one are searched wherever they stand."""
        self._opened: tuple[str, Folder] | None = None
        """The folder of the last file that was read, and its path."""

    def entries(self) -> Iterator[FileEntry]:
        """All entries, in the order of a FileTree. Raises TaskFailed for a hostile repository; Broken, OSError."""
        changed = self.times.changed
        pointers: list[str] = []
        walk = Walk(self.times.first, pointers)
        limits, size = self.objects.limits, 0
        for count, entry in enumerate(walk.folder("", self.here(), 0)):
            size += entry.size
            if count >= limits.files:
                raise too_much("the commit", "files", limits)
            if size > limits.files_size:
                raise too_much("the commit", "files_size", limits)
            time = changed.get(self.above + entry.path) if changed else None
            yield entry if time is None else attrs.evolve(entry, mtime_ns=time)
        if pointers:
            self.say(f"clone: {say_pointers(pointers)}")

    def read(self, path: str) -> Iterator[bytes]:
        """Raises FileNotFoundError, IsADirectoryError."""
        folder, item = self._locate(path)
        if not stat.S_ISREG(item.mode):
            raise IsADirectoryError(path)
        conversion = folder.conversion(item.name)
        if conversion.changes:
            return iter([folder.tree.converted(path, item, conversion)])
        return folder.tree.objects.stream(item.sha)

    def below(self, path: str) -> CommitTree:
        """A folder as the root of a tree of its own; links on its way are followed. Raises TaskFailed when it does not
        exist, or is outside of this tree."""
        parts, tree = find_folder(self, path)
        if tree is not self:
            tree.times, tree.say = self.times, self.say
            tree.above = self.above + "".join(f"{part}/" for part in parts)
        return tree

    def link(self, name: str) -> str | None:
        """The target of a symbolic link in this folder; None for everything else."""
        item = self.items(self.root).get(_bytes(name))
        if item is None or not stat.S_ISLNK(item.mode) or self.found(item.sha).size > MAX_LINK:
            return None
        return _text(self.objects.read(item.sha)[1])

    def parts(self, above: str = "") -> Iterator[tuple[str, CommitTree]]:
        """This tree and its submodules, at every depth, by their paths."""
        yield above, self
        for path, tree in sorted(self._submodules.items()):
            yield from tree.parts(f"{above}/{path}".lstrip("/"))

    @property
    def submodules(self) -> Mapping[str, CommitTree]:
        """The submodules that were fetched, by their paths below this folder."""
        return self._submodules

    def _folder_names(self) -> list[str]:
        return [_text(item.name) for item in self.items(self.root).values() if item.is_folder or item.is_submodule]

    def submodule_paths(self) -> Iterator[tuple[str, str]]:
        """Path and commit of each submodule that the commit itself names."""
        return self._gitlinks("", self.root, 0)

    def check(self, complete: bytes | None = None) -> None:
        """Looks for every object that is needed. `complete` is a root folder that nothing is missing of: what it has at
        the same path is not looked for. Raises Broken when an object is missing."""
        todo, seen = [(self.root, complete)], {self.root}
        while todo:
            root, other = todo.pop()
            known = self.items(other) if other else {}
            for name, item in self.items(root).items():
                before = known.get(name)
                is_known = before is not None and (before.sha, before.mode) == (item.sha, item.mode)
                if item.is_submodule or is_known or item.sha in seen:
                    continue
                place = self.objects.find(item.sha)
                if place is None or place.kind != (TREE if item.is_folder else BLOB):
                    raise Broken(f"the object {item.sha.hex()} is missing")
                if item.is_folder:
                    seen.add(item.sha)
                    todo.append((item.sha, before.sha if before is not None and before.is_folder else None))

    def converted(self, path: str, item: TreeItem, conversion: Conversion) -> bytes:
        """The contents of a file on checkout. Raises TaskFailed, which names the path, where that is not possible."""
        place = self.found(item.sha)
        if place.size > _MAX_CONVERTED:
            raise clone_failed(f"{quoted(path)} is too large for the conversion that .gitattributes asks for")
        try:
            return conversion.apply(self.objects.read(item.sha)[1], item.sha)
        except Unsupported as error:
            raise clone_failed(f"{quoted(path)}: {quoted(str(error))}") from None

    def found(self, sha: bytes) -> Place:
        """Raises Broken when the object is missing."""
        place = self.objects.find(sha)
        if place is None:
            raise Broken(f"the object {sha.hex()} is missing")
        return place

    def attributes_in(self, root: bytes, inside: str, above: Attributes) -> Attributes:
        """The attributes in the folder `root`, whose path in its repository is `inside`. Of a link, `git clone` takes
        the target for the lines."""
        item = self.items(root).get(NAME)
        if item is None or item.is_folder or item.is_submodule:
            return above
        data = bytearray()
        for piece in self.objects.stream(item.sha):
            data += piece.partition(b"\0")[0]
            if b"\0" in piece:
                break
            if len(data) > MAX_SMALL_FILE:
                raise clone_failed(f"{quoted(inside)}.gitattributes is larger than {MAX_SMALL_FILE >> 20} MiB")
        return above.inside(_bytes(inside), bytes(data))

    def here(self) -> Folder:
        """The folder at the root of this tree."""
        return Folder(self, self.root, self.inside, self.attributes_in(self.root, self.inside, self.attributes))

    def submodule(self, path: str) -> CommitTree | None:
        """The submodule at a path below this folder."""
        return self._submodules.get(path)

    def _locate(self, path: str) -> tuple[Folder, TreeItem]:
        """Files are read folder by folder, so that the last folder is cached."""
        above, _, name = path.rpartition("/")
        if self._opened is None or self._opened[0] != above:
            self._opened = (above, self._open(above, path))
        folder = self._opened[1]
        return folder, folder.tree.item(folder.root, name, path)

    def _open(self, above: str, path: str) -> Folder:
        """A folder by its path. Raises FileNotFoundError for the whole path."""
        folder = self.here()
        for part in above.split("/") if above else ():
            item = folder.tree.item(folder.root, part, path)
            inside = f"{folder.inside}{part}"
            module = folder.tree.submodule(inside.removeprefix(folder.tree.inside))
            if not (module or item.is_folder):
                raise FileNotFoundError(path)
            folder = module.here() if module else folder.enter(part, item.sha)
        return folder

    def item(self, root: bytes, name: str, path: str) -> TreeItem:
        """An item of a folder by its name. Raises FileNotFoundError for the whole path."""
        item = self.items(root).get(_bytes(name))
        if item is None:
            raise FileNotFoundError(path)
        return item

    def enter(self, name: str, above: str) -> CommitTree:
        """The folder or submodule of that name. Raises TaskFailed, which names `above`, the path of this tree."""
        item = self.items(self.root).get(_bytes(name))
        if item is not None and item.is_submodule and name in self._submodules:
            return self._submodules[name]
        if item is None or not item.is_folder:
            raise clone_failed(_no_folder(name, above, self._folder_names()))
        inside = {path[len(name) + 1 :]: tree for path, tree in self._submodules.items() if path.startswith(f"{name}/")}
        tree = CommitTree(self.objects, item.sha, inside)
        here = self.here()
        tree.inside, tree.attributes = f"{self.inside}{name}/", here.attributes
        return tree

    def _gitlinks(self, above: str, root: bytes, depth: int) -> Iterator[tuple[str, str]]:
        if depth > MAX_DEPTH:
            raise clone_failed(f"the commit has folders more than {MAX_DEPTH} deep")
        found = root in self._without_submodules
        for item in () if found else self._search(root):
            path = above + _text(item.name)
            if item.is_submodule:
                found = True
                yield path, item.sha.hex()
            elif item.is_folder:
                for link in self._gitlinks(f"{path}/", item.sha, depth + 1):
                    found = True
                    yield link
        if not found:
            self._without_submodules.add(root)

    def _search(self, root: bytes) -> list[TreeItem]:
        """Raises TaskFailed when too many names were searched."""
        found = self._parse(root)
        self._searched += len(found)
        if self._searched > self.objects.limits.files:
            raise too_much("the commit", "files", self.objects.limits)
        return found

    def items(self, sha: bytes) -> dict[bytes, TreeItem]:
        """The items of a folder by name."""
        items = self._parsed.get(sha)
        if items is None:
            items = self._parsed[sha] = _by_name(self._parse(sha))
            if len(self._parsed) > _KEPT_TREES:
                self._parsed.popitem(last=False)
        self._parsed.move_to_end(sha)
        return items

    def _parse(self, sha: bytes) -> list[TreeItem]:
        kind, data = self.objects.read(sha)
        if kind != TREE:
            raise Broken(f"{sha.hex()} is no folder")
        return list(parse_tree(data))


def _by_name(items: list[TreeItem]) -> dict[bytes, TreeItem]:
    """Raises TaskFailed when two of them have one name, which git never writes."""
    named = {item.name: item for item in items}
    if len(named) < len(items):
        name = next(item.name for item in items if named[item.name] is not item)
        raise clone_failed(f"two files or folders of the commit have the name {quoted(name)!r}")
    return named


def _say_nothing(_: str) -> None: ...


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _no_folder(name: str, above: str, names: list[str]) -> str:
    where = f'"{above}" of the commit' if above else "the commit"
    near = difflib.get_close_matches(name, names, 3) or sorted(names)[:5]
    hint = f"; there {'is' if len(near) == 1 else 'are'} {', '.join(map(quoted, near))}" if near else ""
    return f'the context is not there: {where} has no folder "{quoted(name)}"{hint}'
