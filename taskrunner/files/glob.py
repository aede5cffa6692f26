"""Patterns for paths: which files `build/**/*.whl` means.

Parts are separated by `/`. In a part, `*` is any text, `?` one character, `[a-z]` and `[!a-z]` one of a set; none of
them crosses a `/`, and a name that begins with a dot is like any other. A part that is just `**` is any number of
parts, none included. Case matters everywhere, so that a task means the same on each machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate

import attrs

WILD = frozenset("*?[")
ANY_PARTS = "**"


@attrs.frozen
class GlobPattern:
    """A pattern, cut where it stops being plain."""

    folder: str
    """The folder that holds all that can match: `build`; `.` when the first part is wild already."""
    parts: tuple[str, ...]
    """The pattern of each part of a path below this folder."""
    _tests: tuple[Callable[[str], object], ...] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_tests", tuple(re.compile(translate(part)).match for part in self.parts))

    @classmethod
    def of(cls, path: str) -> GlobPattern | None:
        """The pattern in a path; None when the path is plain."""
        if not is_wild(path):
            return None
        parts = [part for part in path.split("/") if part not in {"", "."}]
        first = next(at for at, part in enumerate(parts) if is_wild(part))
        root = "/" if path.startswith("/") else ""
        return cls(root + "/".join(parts[:first]) or ".", tuple(parts[first:]))

    def matches(self, name: str) -> bool:
        """Whether a path, relative to `folder`, matches. Takes time in proportion to both, whatever the pattern."""
        reached = self._skip({0})
        for part in name.split("/"):
            reached = self._skip({after for at in reached for after in self._step(at, part)})
        return len(self.parts) in reached

    def _step(self, at: int, part: str) -> tuple[int, ...]:
        if at == len(self.parts):
            return ()
        if self.parts[at] == ANY_PARTS:
            return (at,)
        return (at + 1,) if self._tests[at](part) else ()

    def _skip(self, reached: set[int]) -> set[int]:
        """Adds the positions behind each `**`, which may match no part."""
        for at in range(len(self.parts)):
            if at in reached and self.parts[at] == ANY_PARTS:
                reached.add(at + 1)
        return reached


def is_wild(text: str) -> bool:
    return not WILD.isdisjoint(text)
