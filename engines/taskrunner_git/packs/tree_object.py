"""Git's tree objects: the names in one folder."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from taskrunner_git.failures import Broken, clone_failed, quoted
from taskrunner_git.packs.pack import ID

_GITLINK = 0o160000
_MODE = re.compile(rb"[0-7]{1,7}")
_MAX_NAME = 255
"""Bytes: NAME_MAX of the usual file systems."""
_FORBIDDEN = re.compile(rb"\.{0,2}\Z|.*/|(?:.*\\)?(?:\.git|git~1)[ .]*(?:[\\:]|\Z)", re.IGNORECASE | re.DOTALL)
"""What leads elsewhere, and what Windows takes for `.git`: git refuses the same on every system (core.protectNTFS)."""
_INVISIBLE = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])
"""Code points that the file systems of macOS ignore in a name; git's list (utf8.c, next_hfs_char)."""


class TreeItem(NamedTuple):
    """One name in a folder. A tuple: a commit has tens of thousands, and they are made at each list of its files."""

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
        _check_name(name)
        yield TreeItem(name, _mode(mode), data[end + 1 : end + 1 + ID])
        at = end + 1 + ID


def _check_name(name: bytes) -> None:
    if _FORBIDDEN.match(name):
        raise clone_failed(f"the commit has a file or folder with the forbidden name {quoted(name)!r}")
    if len(name) > _MAX_NAME:
        raise clone_failed(f"the commit has a name of more than {_MAX_NAME} bytes: {quoted(name)!r}")
    if not name.isascii() and name.decode("utf-8", "replace").translate(_INVISIBLE).lower() == ".git":
        raise clone_failed(f"the commit has a file or folder that macOS takes for .git: {quoted(name)!r}")


@lru_cache(maxsize=64)
def _mode(text: bytes) -> int:
    mode = int(text, 8) if _MODE.fullmatch(text) else 0
    if mode != _GITLINK and stat.S_IFMT(mode) not in {stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK}:
        raise Broken("a folder has something of an unknown type in it")
    return mode
