r"""One line of a `.dockerignore`: its syntax, and what it matches.

The rules are those of `github.com/moby/patternmatcher`, which the docker CLI and BuildKit share: `*` and `?` stop at
`/`, `**` does not, `[a-z]` and `[^a-z]` are sets, `\` makes the next character plain, and a leading `!` includes
again what an earlier pattern excluded.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

import attrs

_STAR, _FOLDERS = "*", "**"
_MOST_LOOSE = 2
"""`a**b`: each such `**` multiplies the work by the depth of a path. Real files have none."""


@attrs.frozen
class IgnorePattern:
    """A pattern that matches paths, `/`-separated and relative, by themselves: their parents are matched one by one."""

    text: str
    """Cleaned, and without the `!`."""
    exception: bool
    """Whether it began with `!`."""
    _regex: re.Pattern[str] = attrs.field(repr=False)

    def matches(self, path: str) -> bool:
        return self._regex.fullmatch(path) is not None

    @property
    def root(self) -> str:
        """The pattern without a glob at its end: a path, if the rest has no wildcard."""
        return self.text.removesuffix("/**").removesuffix("/*")


def parse_pattern(line: str, *, any_suffix: bool = True) -> IgnorePattern | None:
    """Reads one pattern; None for an empty one. With `any_suffix`, `**.py` means every name that ends so.

    Raises ValueError, naming the pattern, when its syntax is wrong.
    """
    line = line.strip()
    exception = line.startswith("!")
    text = line.removeprefix("!") if exception else line
    if exception and not text:
        raise ValueError("the pattern '!' includes nothing: name a path after it")
    if not text:
        return None
    text = clean(text)
    try:
        return IgnorePattern(text, exception, re.compile(_regex(text, any_suffix=any_suffix), re.DOTALL))
    except (re.error, IndexError):
        raise ValueError(f"the pattern {line!r} is not well formed: `[` needs a `]`, and `\\` a character") from None


def clean(path: str) -> str:
    """The shortest form of a path: no `.`, no double `/`, no `/` at its end."""
    path = posixpath.normpath(path)
    return path[1:] if path.startswith("//") else path


# ---- from a pattern to a regular expression ---------------------------------------------------------------
#
# A pattern comes with the repository, and Python's expressions backtrack: ten stars in a row would stop the worker. So
# every part that backtracking cannot help is an atomic group. Between two stars the first match is as good as any later
# one; so it is between two `**` when a `/` stands before the second.


def _regex(text: str, *, any_suffix: bool) -> str:
    tokens = list(_tokens(text))
    if any_suffix and text.startswith("**") and not text.startswith("**/") and not set("*?[]\\").intersection(text[2:]):
        return ".*" + "".join(tokens[1:])  # the one case where `**` does not end at a `/`
    first, *rest = _split(tokens, _FOLDERS)
    if sum(part[-1:] != ["/"] for part in [first, *rest[:-1]] if part) > _MOST_LOOSE:
        raise ValueError(f"the pattern {text!r} has too many `**` inside of names: write `/**/`")
    return _names(first) + "".join(_below(part, last=part is rest[-1]) for part in rest)


def _below(part: list[str], *, last: bool) -> str:
    """`**` and what follows it, up to the next `**`."""
    if last and not part:
        return ".*"
    piece = "(?:.*?/)??" + _names(part)
    return f"(?>{piece})" if not last and part[-1:] in ([], ["/"]) else piece


def _names(part: list[str]) -> str:
    """A piece of a pattern without `**`."""
    first, *rest = map("".join, _split(part, _STAR))
    between = "".join(f"(?>[^/]*?{chunk})" for chunk in rest[:-1])
    return first + between + "".join(f"[^/]*{chunk}" for chunk in rest[-1:])


def _split(tokens: list[str], separator: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == separator:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _tokens(text: str) -> Iterator[str]:
    """Each star, and for each other character or set an expression that matches one character."""
    at = 0
    while at < len(text):
        if text.startswith("**", at):
            at += 3 if text.startswith("**/", at) else 2
            yield _FOLDERS
        elif text[at] == "[":
            at, item = _set(text, at + 1)
            yield item
        else:
            wildcard = {"*": _STAR, "?": "[^/]"}.get(text[at])
            at, character = _character(text, at)
            yield wildcard or re.escape(character)


def _set(text: str, at: int) -> tuple[int, str]:
    """A set, from behind its `[`. Raises IndexError when it does not end."""
    negated = text[at] == "^"
    at += negated
    items: list[str] = []
    while not items or text[at] != "]":
        at, low = _member(text, at)
        high = low
        if text[at] == "-":
            at, high = _member(text, at + 1)
        items.append(f"{re.escape(low)}-{re.escape(high)}")
    return at + 1, f"[{'^' if negated else ''}{''.join(items)}]"


def _member(text: str, at: int) -> tuple[int, str]:
    if text[at] in "-]":
        raise IndexError(at)
    return _character(text, at)


def _character(text: str, at: int) -> tuple[int, str]:
    at += text[at] == "\\"
    return at + 1, text[at]
