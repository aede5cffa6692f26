"""The files of a tree on disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from taskrunner_git.failures import clone_failed, quoted
from taskrunner_git.files import FileTree
from taskrunner_git.work_tree.folder_writer import FolderWriter

_INVISIBLE = {*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF}
"""Code points that the file systems of macOS ignore in a name; git's list (utf8.c, next_hfs_char)."""


def write_tree(tree: FileTree, writer: FolderWriter, check: Callable[[], None]) -> dict[str, os.stat_result]:
    """Writes all entries, and returns the states of files and links by path. `check` is called before each of them, and
    may raise to end the work.

    Raises: TaskFailed (a hostile name), Broken, OSError, and what `check` raises.
    """
    states = {}
    for entry in tree.entries():
        check()
        _check_name(entry.path)
        if stat.S_ISDIR(entry.mode):
            writer.folder(entry.path, entry.mtime_ns)
        elif stat.S_ISLNK(entry.mode):
            states[entry.path] = writer.link(entry.path, entry.link, entry.mtime_ns)
        else:
            mode = stat.S_IMODE(entry.mode)
            states[entry.path] = writer.file(entry.path, tree.read(entry.path), mode, entry.mtime_ns)
    return states


def _check_name(path: str) -> None:
    """The parser of trees has refused `..` and `.git`."""
    name = path.rpartition("/")[2]
    if name.isascii():
        return
    if name.translate(dict.fromkeys(_INVISIBLE)).lower() == ".git":
        raise clone_failed(f"the commit has a file or folder that macOS takes for .git: {quoted(path)!r}")
