"""A commit on disk: all files with a `.git` beside them, or the `.git` alone for a tree that is read elsewhere."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from taskrunner_git.commit import Commit
from taskrunner_git.files import FileEntry, FileTree
from taskrunner_git.work_tree.folder_writer import FolderWriter, Owner
from taskrunner_git.work_tree.git_folder import write_git_folders
from taskrunner_git.work_tree.tree_writer import write_tree

_PIECE = 1 << 18
"""Bytes that are read at a time."""


def write_checkout(
    commit: Commit,
    folder: Path,
    owner: Owner | None,
    ignored: Sequence[str],
    *,
    moved: bool,
    check: Callable[[], None],
) -> int:
    """Writes all files and the `.git` into an empty folder, as `git_folder.write_git_folders`. Returns how many files
    and links the commit has.

    Raises: TaskFailed, Broken, OSError, and what `check` raises.
    """
    with FolderWriter(folder, owner) as writer:
        states = write_tree(commit, writer, check)
        write_git_folders(writer, commit.tree, states, ignored=ignored, moved=moved, check=check)
    return len(states)


def with_git_folder(commit: Commit, folder: Path, check: Callable[[], None]) -> FileTree:
    """The tree of a commit with a `.git`, and one in each submodule, which are written into a new folder and read from
    there.

    A file in a `.git` has a time that is made of its content, and is later than those of the commit's files: two
    contents of one file never share size and time. That of the commit would not do: the same objects can be packed in
    two ways, and the index of a pack has one size for both.

    Raises: as `write_checkout`.
    """
    files = list(commit.entries())
    states = {entry.path: _state(entry) for entry in files if not stat.S_ISDIR(entry.mode)}
    paths = [path for path, _ in commit.tree.parts()]
    for path in paths:
        (folder / path).mkdir(parents=True, exist_ok=True)
    with FolderWriter(folder) as writer:
        write_git_folders(writer, commit.tree, states, ignored=(), moved=True, check=check)
    own = [entry for path in paths for entry in _listed(folder, f"{path}/.git".lstrip("/"), commit.tree.times.last)]
    inside = frozenset(entry.path for entry in own)
    return _WithGit(commit, folder, inside, sorted([*own, *files], key=lambda entry: _order(entry.path)))


@attrs.frozen
class _WithGit:
    """A FileTree."""

    commit: Commit
    folder: Path
    own: frozenset[str]
    """The paths of what is in `folder`."""
    all: list[FileEntry]

    def entries(self) -> Iterator[FileEntry]:
        return iter(self.all)

    def read(self, path: str) -> Iterator[bytes]:
        return _contents(self.folder / path) if path in self.own else self.commit.read(path)


def _state(entry: FileEntry) -> os.stat_result:
    """What a program sees of a copy, as far as git compares it."""
    size = len(entry.link.encode("utf-8", "surrogateescape")) if entry.link else entry.size
    seconds = entry.mtime_ns // 10**9
    whole = (entry.mode, 0, 0, 1, 0, 0, size, seconds, seconds, seconds)
    return os.stat_result(whole, {"st_mtime_ns": entry.mtime_ns, "st_ctime_ns": entry.mtime_ns})


def _listed(folder: Path, path: str, time: int) -> Iterator[FileEntry]:
    """`time` is that of folders."""
    status = (folder / path).lstat()
    if not stat.S_ISDIR(status.st_mode):
        yield FileEntry(path, status.st_mode, status.st_size, time + _later(folder / path))
        return
    yield FileEntry(path, status.st_mode, 0, time)
    for inner in (folder / path).iterdir():
        yield from _listed(folder, f"{path}/{inner.name}", time)


def _later(path: Path) -> int:
    """Nanoseconds, from two seconds to twenty minutes, by the content: git trusts an index that is a second younger
    than the files."""
    digest = hashlib.sha256()
    for piece in _contents(path):
        digest.update(piece)
    return 2 * 10**9 + int.from_bytes(digest.digest()[:5], "big")


def _order(path: str) -> list[bytes]:
    return path.encode("utf-8", "surrogateescape").split(b"/")


def _contents(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            yield piece
