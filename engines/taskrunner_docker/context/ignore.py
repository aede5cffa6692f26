"""`.dockerignore`: which files of a build context are sent.

The last pattern that matches a path decides. A pattern that matches a folder counts for everything below it. An
excluded folder is read only where a `!` pattern may match an entry in it. These are the rules as Docker documents them;
`ignore_20_10` has those of older daemons.
"""

from __future__ import annotations

from collections.abc import Iterable

from taskrunner_docker.context.ignore_patterns import parse_pattern

_WILDCARDS = frozenset("*[]?^\\")


class Ignore:
    """Whether the patterns exclude a path. The answers for folders are kept, so that a walk costs little."""

    sends_read_folders = False
    """An excluded folder that is read is sent only before something in it."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises ValueError, naming the pattern, when a syntax is wrong."""
        self._patterns = [pattern for line in patterns if (pattern := parse_pattern(line))]
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
        """Whether no `!` pattern matches below this excluded folder, which then need not be read."""
        return not self._anywhere and not any(f"{root}/".startswith(f"{folder}/") for root in self._exceptions)

    def _hits(self, folder: str) -> bytes:
        """The patterns that match a folder or one above it: a 1 for each that does."""
        missing = []
        while folder not in self._folders:
            missing.append(folder)
            folder = folder.rpartition("/")[0]
        hits = self._folders[folder]
        for path in reversed(missing):
            pairs = zip(self._patterns, hits, strict=True)
            hits = self._folders[path] = bytes(hit or pattern.matches(path) for pattern, hit in pairs)
        return hits
