"""The `.git` beside the files of a commit, and of its submodules, as after `git clone --depth 1`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs

from taskrunner_git.packs.commit_object import find_tagged
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack_copy import PackCopy
from taskrunner_git.packs.tree_object import parse_tree
from taskrunner_git.trees.commit_tree import CommitTree
from taskrunner_git.work_tree.folder_writer import FolderWriter
from taskrunner_git.work_tree.index_file import IndexEntry, index_file

_FOLDERS = ("", "/info", "/objects", "/objects/info", "/objects/pack", "/refs", "/refs/heads", "/refs/tags")
_GITLINK, _LINK, _FILE, _PROGRAM = 0o160000, 0o120000, 0o100644, 0o100755

_CORE = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
"""
_MOVED = """\
\ttrustctime = false
\tcheckStat = minimal
"""
_ORIGIN = """\
[remote "origin"]
\turl = "{}"
\tfetch = +refs/heads/*:refs/remotes/origin/*
"""

_SUBMODULE = """\
[submodule "{}"]
\tactive = true
\turl = "{}"
"""

States = Mapping[str, os.stat_result]
"""Of the files on disk, by their path."""


@attrs.define
class _Content:
    """The ids of a commit's objects, and its files."""

    objects: Objects
    states: States
    above: str
    """The path of the repository among the files; it ends in `/`."""
    shas: set[bytes] = attrs.field(factory=set)
    files: list[IndexEntry] = attrs.field(factory=list)

    def add(self, above: bytes, root: bytes) -> None:
        """Adds a folder with all that is in it."""
        self.shas.add(root)
        for item in parse_tree(self.objects.read(root)[1]):
            path = above + item.name
            if item.is_folder:
                self.add(path + b"/", item.sha)
            elif item.is_submodule:
                self.files.append(IndexEntry(path, _GITLINK, item.sha, None))
            else:
                self.shas.add(item.sha)
                status = self.states.get(self.above + path.decode("utf-8", "surrogateescape"))
                self.files.append(IndexEntry(path, _mode(item.mode), item.sha, status))


def write_git_folders(
    writer: FolderWriter,
    tree: CommitTree,
    states: States,
    *,
    ignored: Sequence[str],
    moved: bool,
    check: Callable[[], None],
) -> None:
    """Writes the `.git` of a commit, and that of each of its submodules into its own folder: git takes these as it
    takes those below `.git/modules`, and no name of a hostile commit becomes a path there.

    `ignored` are paths that git does not report. `moved`: the files are copied elsewhere, so that git compares size and
    time alone. `check` is called often, and may raise to end the work.

    Raises: TaskFailed, Broken, OSError, and what `check` raises.
    """
    for path, part in tree.parts():
        folder = _GitFolder(writer, part, f"{path}/" if path else "", check)
        folder.write(states, () if path else ignored, moved=moved)


class _GitFolder:
    def __init__(self, writer: FolderWriter, tree: CommitTree, above: str, check: Callable[[], None]) -> None:
        assert tree.origin  # noqa: S101  the root of a repository has one
        self._writer, self._tree, self._above, self._check = writer, tree, above, check
        self._origin = tree.origin

    def write(self, states: States, ignored: Sequence[str], *, moved: bool) -> None:
        objects, head = self._tree.objects, bytes.fromhex(self._origin.sha)
        content = _Content(objects, states, self._above)
        content.add(b"", self._tree.root)
        tags = [tag for sha in self._origin.tags.values() for tag in find_tagged(objects, bytes.fromhex(sha))]
        content.shas.update([head, *tags])
        for folder in _FOLDERS:
            self._writer.folder(f"{self._above}.git{folder}")
        self._write_pack(PackCopy(objects, content.shas, self._check))
        for name, text in self._texts(objects.read(head)[1], ignored, moved=moved):
            self._file(name, [text.encode("utf-8", "surrogateescape")])
        self._file("index", [index_file(content.files)])

    def _write_pack(self, pack: PackCopy) -> None:
        path = f"objects/pack/{pack.name}"
        whole = pack.whole()
        if whole is None:
            self._file(f"{path}.pack", pack.pieces(), 0o444)
            self._file(f"{path}.idx", [pack.index()], 0o444)
            return
        self._writer.copy(f"{self._above}.git/{path}.pack", whole[0].descriptor, 0o444)
        self._file(f"{path}.idx", [whole[1]], 0o444)

    def _file(self, name: str, pieces: Iterable[bytes], mode: int = 0o644) -> None:
        self._writer.file(f"{self._above}.git/{name}", pieces, mode)

    def _texts(self, data: bytes, ignored: Sequence[str], *, moved: bool) -> Iterator[tuple[str, str]]:
        sha = self._origin.sha
        yield "HEAD", f"{sha}\n"
        yield "config", self._config(moved=moved)
        yield "info/exclude", "".join(f"/{_escaped(path)}\n" for path in ignored)
        yield "packed-refs", "".join(f"{tag} {name}\n" for name, tag in sorted(self._origin.tags.items()))
        if b"\nparent " in data.partition(b"\n\n")[0]:
            yield "shallow", f"{sha}\n"

    def _config(self, *, moved: bool) -> str:
        text = _CORE + (_MOVED if moved else "") + _ORIGIN.format(_quoted(self._origin.url))
        for part in self._tree.submodules.values():
            if part.origin and part.origin.name and part.origin.name.isprintable():
                text += _SUBMODULE.format(_quoted(part.origin.name), _quoted(part.origin.url))
        return text


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _escaped(path: str) -> str:
    """A path as a pattern that matches it alone."""
    return "".join(f"\\{letter}" if letter in "\\*?[ " else letter for letter in path.strip("/"))


def _mode(mode: int) -> int:
    """Git knows two modes of files; older ones had the permissions of their author's disk."""
    if mode & 0o170000 == _LINK:
        return _LINK
    return _PROGRAM if mode & 0o100 else _FILE
