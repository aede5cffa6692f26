"""Git's tree objects: the names in one folder."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import attrs

from taskrunner_git.failures import Broken, clone_failed, quoted
from taskrunner_git.packs.pack import ID

_GITLINK = 0o160000


@attrs.frozen
class TreeItem:
    """One name in a folder."""

    name: bytes
    mode: int
    sha: bytes

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_submodule(self) -> bool:
        return self.mode == _GITLINK


def parse_tree(data: bytes) -> Iterator[TreeItem]:
    """The items of a tree object. Raises Broken, and TaskFailed for a name that would lead elsewhere."""
    at = 0
    while at < len(data):
        space = data.find(b" ", at)
        end = data.find(b"\0", space)
        if space < 0 or end < 0 or end + 1 + ID > len(data):
            raise Broken("a folder is damaged")
        name, mode = data[space + 1 : end], data[at:space]
        if name in {b"", b".", b".."} or b"/" in name or name.lower() == b".git":
            raise clone_failed(f"the commit has a file or folder with the forbidden name {quoted(name)!r}")
        yield TreeItem(name, _mode(mode), data[end + 1 : end + 1 + ID])
        at = end + 1 + ID


def _mode(text: bytes) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = 0
    if mode != _GITLINK and stat.S_IFMT(mode) not in {stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK}:
        raise Broken("a folder has something of an unknown type in it")
    return mode
