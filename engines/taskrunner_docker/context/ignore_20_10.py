"""`.dockerignore` by the rules of Docker 20.10, which a daemon of that age has: API 1.41 and before.

They differ from those of later versions only where `!` patterns are mixed with wildcards or folders:

- Of the folders above a path, a pattern is compared with that alone which has as many parts as the pattern.
- An excluded folder is read only where the text of a `!` pattern begins with its path: wildcards are not expanded. Such
  a folder is sent even when nothing in it is.
- `**.py` means `**/.py`.

Source: `pkg/fileutils` of moby 20.10, and `walker.go` of the fsutil in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from taskrunner_docker.context.ignore_patterns import parse_pattern


class Ignore20:
    """Whether the patterns exclude a path."""

    sends_read_folders = True
    """An excluded folder that is read is sent at once."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises ValueError, naming the pattern, when a syntax is wrong."""
        self._patterns = [pattern for line in patterns if (pattern := parse_pattern(line, any_suffix=False))]
        self._exceptions = [f"{pattern.text}/" for pattern in self._patterns if pattern.exception]

    def __call__(self, path: str) -> bool:
        """Whether this path, relative and with `/`, is excluded."""
        above = path.split("/")[:-1]
        for pattern in reversed(self._patterns):
            parts = pattern.text.count("/") + 1
            if pattern.matches(path) or (parts <= len(above) and pattern.matches("/".join(above[:parts]))):
                return not pattern.exception
        return False

    def prune(self, folder: str) -> bool:
        """Whether this excluded folder is not read."""
        return not any(text.startswith(f"{folder}/") for text in self._exceptions)
