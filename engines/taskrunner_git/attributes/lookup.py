"""The attributes of a path, from the files in all folders above it."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from taskrunner_git.attributes.conversion import NO_CONVERSION, Conversion, conversion
from taskrunner_git.attributes.rules import BINARY, Rule, States, Value, parse
from taskrunner_git.failures import clone_failed

NAME = b".gitattributes"
_MAX_WORK = 100_000_000
"""Lines times files: half a minute. The Linux kernel has half a million; a small hostile repository could ask for
days."""


@attrs.frozen
class _Level:
    folder: bytes
    """Empty, or with a `/` at its end."""
    rules: tuple[Rule, ...]

    def matching(self, path: bytes) -> list[Rule]:
        inner = path[len(self.folder) :] if self.folder else path
        return [rule for rule in self.rules if rule.matches(inner)]


@attrs.frozen
class Attributes:
    """The rules that hold in one folder of a repository. The attributes of a submodule are its own."""

    _levels: tuple[_Level, ...] = ()
    """The deepest first."""
    _macros: Mapping[bytes, States] = BINARY
    _work: list[int] = attrs.field(factory=lambda: [0], eq=False, repr=False)
    """Patterns that were compared with a path, in all folders of a tree."""
    _known: dict[tuple[int, ...], Conversion] = attrs.field(factory=dict, init=False, eq=False, repr=False)
    """Conversions by the rules that match: most files of a folder have the same."""

    def inside(self, folder: bytes, data: bytes) -> Attributes:
        """Those of a folder with a file of attributes. `folder` is empty for the root, and ends in `/` otherwise."""
        rules, macros = parse(data, self._macros, is_root=not folder)
        if not rules and macros == self._macros:
            return self
        return Attributes((_Level(folder, rules), *self._levels), macros, self._work)

    def of(self, path: bytes) -> Conversion:
        """What happens to a file on checkout. `path` is the full one in the repository. Raises TaskFailed for a hostile
        repository."""
        if not self._levels:
            return NO_CONVERSION
        self._work[0] += sum(len(level.rules) for level in self._levels)
        if self._work[0] > _MAX_WORK:
            raise clone_failed("the .gitattributes have too many lines for so many files")
        matched = tuple(rule for level in self._levels for rule in level.matching(path))
        if not matched:
            return NO_CONVERSION
        key = tuple(map(id, matched))
        if key not in self._known:
            self._known[key] = self._convert(matched)
        return self._known[key]

    def _convert(self, rules: tuple[Rule, ...]) -> Conversion:
        found: dict[bytes, Value] = {}
        for rule in rules:
            self._fill(found, rule.states)
        return conversion(found)

    def _fill(self, found: dict[bytes, Value], states: States) -> None:
        """The first value stays: the deepest file and the last line come first. A macro counts where it is set."""
        for name, value in reversed(states):
            if name not in found:
                found[name] = value
                if value is True and name in self._macros:
                    self._fill(found, self._macros[name])
