"""The files of a tree on disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from taskrunner_git.files import FileTree
from taskrunner_git.work_tree.folder_writer import FolderWriter


def write_tree(tree: FileTree, writer: FolderWriter, check: Callable[[], None]) -> dict[str, os.stat_result]:
    """Writes all entries, and returns the states of files and links by path. `check` is called before each of them, and
    may raise to end the work.

    Raises: TaskFailed (a hostile repository), Broken, OSError, and what `check` raises.
    """
    states = {}
    for entry in tree.entries():
        check()
        if stat.S_ISDIR(entry.mode):
            writer.folder(entry.path, entry.mtime_ns)
        elif stat.S_ISLNK(entry.mode):
            states[entry.path] = writer.link(entry.path, entry.link, entry.mtime_ns)
        else:
            mode = stat.S_IMODE(entry.mode)
            states[entry.path] = writer.file(entry.path, tree.read(entry.path), mode, entry.mtime_ns)
    return states
