"""The `.git` beside the files of a commit, as after `git clone --depth 1`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from taskrunner_git.commit import Commit
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.tree_object import parse_tree
from taskrunner_git.work_tree.folder_writer import FolderWriter
from taskrunner_git.work_tree.index_file import IndexEntry, index_file
from taskrunner_git.work_tree.pack_writer import PackWriter

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

States = Mapping[str, os.stat_result]
"""Of the files on disk, by their path."""


@attrs.define
class _Content:
    """The ids of a commit's objects, and its files."""

    objects: Objects
    shas: set[bytes]
    files: list[IndexEntry] = attrs.field(factory=list)

    def add(self, above: bytes, root: bytes, states: States) -> None:
        """Adds a folder with all that is in it."""
        self.shas.add(root)
        for item in parse_tree(self.objects.read(root)[1]):
            path = above + item.name
            if item.is_folder:
                self.add(path + b"/", item.sha, states)
            elif item.is_submodule:
                self.files.append(IndexEntry(path, _GITLINK, item.sha, None))
            else:
                self.shas.add(item.sha)
                status = states.get(path.decode("utf-8", "surrogateescape"))
                self.files.append(IndexEntry(path, _mode(item.mode), item.sha, status))


def write_git_folder(
    writer: FolderWriter,
    commit: Commit,
    states: States,
    *,
    ignored: Sequence[str],
    moved: bool,
    check: Callable[[], None],
) -> None:
    """`ignored` are paths that git does not report. `moved`: the files are copied elsewhere, so that git compares
    size and time alone. `check` is called often, and may raise to end the work.

    Raises: TaskFailed, Broken, OSError, and what `check` raises.
    """
    objects = commit.tree.objects
    head = bytes.fromhex(commit.sha)
    content = _Content(objects, {head})
    content.add(b"", commit.tree.root, states)
    for folder in _FOLDERS:
        writer.folder(f".git{folder}")
    pack = PackWriter(objects, list(content.shas), check)
    writer.file(f".git/objects/pack/{pack.name}.pack", pack.pieces(), 0o444)
    writer.file(f".git/objects/pack/{pack.name}.idx", [pack.index()], 0o444)
    for name, text in _texts(commit, objects.read(head)[1], ignored, moved=moved):
        writer.file(f".git/{name}", [text.encode("utf-8", "surrogateescape")])
    writer.file(".git/index", [index_file(content.files)])


def _texts(commit: Commit, data: bytes, ignored: Sequence[str], *, moved: bool) -> Iterator[tuple[str, str]]:
    yield "HEAD", f"{commit.sha}\n"
    yield "config", _config(commit.url, moved=moved)
    yield "info/exclude", "".join(f"/{_escaped(path)}\n" for path in ignored)
    if b"\nparent " in data.partition(b"\n\n")[0]:
        yield "shallow", f"{commit.sha}\n"


def _config(url: str, *, moved: bool) -> str:
    quoted = url.replace("\\", "\\\\").replace('"', '\\"')
    return _CORE + (_MOVED if moved else "") + _ORIGIN.format(quoted)


def _escaped(path: str) -> str:
    """A path as a pattern that matches it alone."""
    return "".join(f"\\{letter}" if letter in "\\*?[ " else letter for letter in path.strip("/"))


def _mode(mode: int) -> int:
    """Git knows two modes of files; older ones had the permissions of their author's disk."""
    if mode & 0o170000 == _LINK:
        return _LINK
    return _PROGRAM if mode & 0o100 else _FILE
