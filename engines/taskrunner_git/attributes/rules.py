"""The lines of one `.gitattributes`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import attrs

from taskrunner_git.attributes.wildmatch import Matcher, matcher

Value = bytes | bool | None
"""Set to a text, set (`a`) or unset (`-a`); None is unspecified (`!a`)."""
States = tuple[tuple[bytes, Value], ...]
BINARY: Mapping[bytes, States] = {b"binary": ((b"diff", False), (b"merge", False), (b"text", False))}
"""git's own macro."""
RELEVANT = frozenset({b"text", b"crlf", b"eol", b"ident", b"working-tree-encoding", b"filter"})
"""The attributes that mean something on checkout."""
_MAX_LINE = 2048
"""Bytes of a line; git ignores longer ones."""
_BLANK = b" \t\r\n"
_BLANKS = re.compile(rb"[ \t\r\n]+")
_MACRO = b"[attr]"
_NAME = re.compile(rb"(?!builtin_)[A-Za-z0-9_.][-A-Za-z0-9_.]*")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\[abfnrtv\\"]|\\[0-3][0-7]{2})*)"', re.DOTALL)
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2}|.)", re.DOTALL)
_ESCAPES = dict(zip(b'abfnrtv\\"', b'\a\b\f\n\r\t\v\\"', strict=True))


@attrs.frozen
class Rule:
    """A line with a pattern."""

    pattern: bytes
    states: States
    matches: Matcher = attrs.field(eq=False, repr=False)


def parse(
    data: bytes, macros: Mapping[bytes, States], *, is_root: bool
) -> tuple[tuple[Rule, ...], dict[bytes, States]]:
    """The rules, the last one first, and the macros: only the file in the root can have new ones. git ignores a line
    that it does not understand."""
    rules, known = [], dict(macros)
    for name, is_macro, states in _lines(data):
        if is_macro and is_root:
            known[name] = states
        elif not is_macro and not name.startswith(b"!"):
            rules.append((name, states))
    useful = RELEVANT | known.keys()
    found = [Rule(name, states, matcher(name)) for name, states in rules if any(key in useful for key, _ in states)]
    return tuple(reversed(found)), known


def _lines(data: bytes) -> Iterator[tuple[bytes, bool, States]]:
    """The pattern, or the name of a macro; whether it is one; and its attributes."""
    for text in data.split(b"\0", 1)[0].split(b"\n"):
        line = text.lstrip(_BLANK)
        if not line or line.startswith(b"#") or len(text) >= _MAX_LINE:
            continue
        name, rest = _name(line)
        is_macro = name.startswith(_MACRO) and len(name) > len(_MACRO)
        states = _states(rest)
        if is_macro:
            name = name.removeprefix(_MACRO)
        if states is not None and not (is_macro and not _NAME.fullmatch(name)):
            yield name, is_macro, states


def _name(line: bytes) -> tuple[bytes, bytes]:
    """The pattern and the rest of a line."""
    if quoted := _QUOTED.match(line):
        return _ESCAPE.sub(_unescaped, quoted[1]), line[quoted.end() :]
    name = _BLANKS.split(line, maxsplit=1)[0]
    return name, line[len(name) :]


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 8) if len(found[1]) > 1 else _ESCAPES[found[1][0]]])


def _states(text: bytes) -> States | None:
    """None when git does not understand one of them."""
    states: list[tuple[bytes, Value]] = []
    for word in _BLANKS.split(text.strip(_BLANK)):
        if not word:
            continue
        name, equals, value = word.partition(b"=")
        sign = name[:1] if name[:1] in {b"-", b"!"} else b""
        name = name.removeprefix(sign)
        if not _NAME.fullmatch(name):
            return None
        states.append((name, {b"-": False, b"!": None}[sign] if sign else value if equals else True))
    return tuple(states)
