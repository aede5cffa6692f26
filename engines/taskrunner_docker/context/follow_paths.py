"""BuildKit's follow paths: the part of a context that a Dockerfile copies from."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterable, Iterator

from taskrunner_git import FileEntry

_WILDCARDS = frozenset("*?[\\")
MOST_LINKS = 40
"""Links that one path may lead over: the kernel's own limit."""


def link_target(path: str, link: str) -> str:
    """Where the symbolic link at `path` leads, in a tree that no link leaves."""
    return _inside(posixpath.join("/", posixpath.dirname(path), link))


class Followed:
    """Whether an entry is needed for some paths: it is one of them, below one, or a folder above one.

    A path may lead over symbolic links, and then both the link and what it leads to are needed. A wildcard is not
    matched: everything in its folder is needed, which sends more than BuildKit reads, and never less.
    """

    def __init__(self, paths: Iterable[str], entries: Iterable[FileEntry]) -> None:
        self._links = {entry.path: entry.link for entry in entries if stat.S_ISLNK(entry.mode)}
        self._needed: set[str] = set()
        self._above: set[str] = set()
        todo = {_inside(path) for path in paths}
        for _ in range(MOST_LINKS):
            todo = {target for path in todo - self._needed for target in self._add(path)}

    def __call__(self, entry: FileEntry) -> bool:
        path = entry.path
        return path in self._above or any(part in self._needed for part in _upwards(path))

    def _add(self, path: str) -> Iterator[str]:
        """Adds one path, and yields the targets of the links on its way."""
        plain = _plain(path)
        self._needed.add(plain)
        self._needed.add(path)
        self._above.update(_upwards(posixpath.dirname(plain)))
        for part in _upwards(plain):
            if part in self._links:
                yield self._target(part) + plain[len(part) :]
        if plain != path:
            yield from (self._target(link) for link in self._links if plain in _upwards(link))

    def _target(self, link: str) -> str:
        return link_target(link, self._links[link])


def _inside(path: str) -> str:
    """A path below the root, where `..` and a leading `/` stay in it; the root itself is empty."""
    return posixpath.normpath(posixpath.join("/", path)).strip("/")


def _plain(path: str) -> str:
    """The folder before the first wildcard."""
    parts = path.split("/")
    cut = next((i for i, part in enumerate(parts) if _WILDCARDS.intersection(part)), len(parts))
    return "/".join(parts[:cut])


def _upwards(path: str) -> Iterator[str]:
    """The path, each folder above it, and the root."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield ""
