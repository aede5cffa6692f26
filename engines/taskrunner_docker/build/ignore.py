"""`.dockerignore`: which files of a build context are sent.

The last pattern that matches a path decides; a pattern that matches a folder counts for everything below it; an
excluded folder is looked into only where a `!` pattern may name something inside. These are the rules as Docker
documents them. What its programs do differs a little from version to version where `!` patterns are mixed with
wildcards: 20.10 looks into fewer folders, and later ones sometimes miss that a `!` pattern matches a folder above.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence

from taskrunner_docker.build.follow_paths import Followed
from taskrunner_docker.build.ignore_patterns import parse, read_patterns
from taskrunner_git import FileEntry, FileTree, read_small

IGNORE_FILE = ".dockerignore"
_WILDCARDS = frozenset("*[]?^\\")


class Ignore:
    """Says of each path whether the patterns exclude it. Remembers folders, so that a walk costs little."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises ValueError, naming the pattern, when a syntax is wrong."""
        self._patterns = [pattern for line in patterns if (pattern := parse(line))]
        self._exceptions = [pattern.root for pattern in self._patterns if pattern.exception]
        self._anywhere = any(_WILDCARDS.intersection(root) for root in self._exceptions)
        self._folders = {"": bytes(len(self._patterns))}

    def __call__(self, path: str) -> bool:
        """Whether this path, relative and with `/`, is excluded."""
        above = self._hits(path.rpartition("/")[0])
        for pattern, hit in zip(reversed(self._patterns), reversed(above), strict=True):
            if hit or pattern.matches(path):
                return not pattern.exception
        return False

    def prune(self, folder: str) -> bool:
        """Whether nothing below this excluded folder can be taken back: no need to look into it."""
        return not self._anywhere and not any(f"{root}/".startswith(f"{folder}/") for root in self._exceptions)

    def _hits(self, folder: str) -> bytes:
        """Which patterns match a folder or one above it: a 1 for each that does."""
        missing = []
        while folder not in self._folders:
            missing.append(folder)
            folder = folder.rpartition("/")[0]
        hits = self._folders[folder]
        for path in reversed(missing):
            pairs = zip(self._patterns, hits, strict=True)
            hits = self._folders[path] = bytes(hit or pattern.matches(path) for pattern, hit in pairs)
        return hits


def chosen(
    entries: Iterable[FileEntry], exclude: Sequence[str] = (), follow: Sequence[str] = ()
) -> Iterator[FileEntry]:
    """The entries that BuildKit asks for: below one of the `follow` paths, if there are any, and not excluded.

    A folder that is excluded itself comes before the first thing that is sent from inside. Raises ValueError for a
    pattern whose syntax is wrong.
    """
    if follow:
        entries = list(entries)
        entries = filter(Followed(follow, entries), entries)
    return _without(entries, Ignore(exclude)) if exclude else iter(entries)


def _without(entries: Iterable[FileEntry], ignore: Ignore, keep: frozenset[str] = frozenset()) -> Iterator[FileEntry]:
    pending: list[FileEntry] = []
    pruned = "/"
    for entry in entries:
        if entry.path.startswith(pruned) and entry.path not in keep:
            continue
        while pending and not entry.path.startswith(f"{pending[-1].path}/"):
            pending.pop()
        if entry.path in keep or not ignore(entry.path):
            yield from pending
            pending.clear()
            yield entry
        elif stat.S_ISDIR(entry.mode):
            if ignore.prune(entry.path) and not any(path.startswith(f"{entry.path}/") for path in keep):
                pruned = f"{entry.path}/"
            else:
                pending.append(entry)


def ignored(source: FileTree, dockerfile: str = "Dockerfile") -> FileTree:
    """What of a source belongs into a context that is sent whole: all but what its `.dockerignore` excludes.

    `<dockerfile>.dockerignore` goes before `.dockerignore`. The Dockerfile and these two are always sent, as the
    docker CLI does, since the daemon needs them. Raises ValueError for a pattern whose syntax is wrong, and for a
    file that is absurdly large.
    """
    names = [f"{dockerfile}{IGNORE_FILE}", IGNORE_FILE]
    files = {entry.path for entry in source.entries() if entry.path in names and stat.S_ISREG(entry.mode)}
    found = next((name for name in names if name in files), None)
    if found is None:
        return source
    text = read_small(source, found).decode("utf-8", "surrogateescape")
    return _Filtered(source, read_patterns(text), frozenset([dockerfile, *names]))


class _Filtered:
    def __init__(self, source: FileTree, patterns: Sequence[str], keep: frozenset[str]) -> None:
        self._source, self._ignore, self._keep = source, Ignore(patterns), keep

    def entries(self) -> Iterator[FileEntry]:
        return _without(self._source.entries(), self._ignore, self._keep)

    def read(self, path: str) -> Iterator[bytes]:
        return self._source.read(path)
