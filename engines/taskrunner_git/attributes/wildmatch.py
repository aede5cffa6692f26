"""The patterns of `.gitattributes`: git's `wildmatch.c`, and the rules of `dir.c` around it."""

from __future__ import annotations

import re
from collections.abc import Callable

_SPECIAL = re.compile(rb"[*?\[\\]")
_FOLDERS = "**"
_CLASSES = {
    b"alnum": rb"[0-9A-Za-z]",
    b"alpha": rb"[A-Za-z]",
    b"blank": rb"[ \t]",
    b"cntrl": rb"[\x00-\x1f\x7f]",
    b"digit": rb"[0-9]",
    b"graph": rb"[!-~]",
    b"lower": rb"[a-z]",
    b"print": rb"[ -~]",
    b"punct": rb"[!-/:-@\[-`{-~]",
    b"space": rb"[ \t\n\r]",
    b"upper": rb"[A-Z]",
    b"xdigit": rb"[0-9A-Fa-f]",
}

Matcher = Callable[[bytes], bool]
"""Whether a path matches: it is relative to the folder of the pattern's file."""


class _Malformed(Exception):
    """git matches nothing with such a pattern."""


def matcher(pattern: bytes) -> Matcher:
    """A pattern without a `/` matches a name in every folder, others match the whole path; those that end in `/` match
    folders, and so no file."""
    try:
        if pattern.endswith(b"/"):
            return _never
        return _path_matcher(pattern.removeprefix(b"/")) if b"/" in pattern else _name_matcher(pattern)
    except _Malformed:
        return _never


def _never(_: bytes) -> bool:
    return False


def _name_matcher(pattern: bytes) -> Matcher:
    if not _SPECIAL.search(pattern):
        return lambda path: path.endswith(pattern) and path[-len(pattern) - 1 : -len(pattern)] in {b"", b"/"}
    if pattern.startswith(b"*") and not _SPECIAL.search(pattern, 1):
        return lambda path: path.rpartition(b"/")[2].endswith(pattern[1:])
    regex = _regex(_tokens(pattern))
    return lambda path: regex.fullmatch(path.rpartition(b"/")[2]) is not None


def _path_matcher(pattern: bytes) -> Matcher:
    """Git compares the literal beginning first, and what follows is a pattern of its own: `a**/b` has a `**`."""
    special = _SPECIAL.search(pattern)
    if special is None:
        return lambda path: path == pattern
    literal = pattern[: special.start()]
    parts = list(map(_part, _segments(pattern[special.start() :])))
    return lambda path: path.startswith(literal) and _match_parts(parts, path[len(literal) :].split(b"/"))


def _part(tokens: list[bytes]) -> str | re.Pattern[bytes]:
    return _FOLDERS if len(tokens) > 1 and set(tokens) == {b"*"} else _regex(tokens)


def _match_parts(parts: list[str | re.Pattern[bytes]], names: list[bytes]) -> bool:
    """Only the last `**` needs to be tried again, so that a hostile pattern takes no longer than its length."""
    at = name = 0
    again: tuple[int, int] | None = None
    while name < len(names):
        part = parts[at] if at < len(parts) else None
        if part is _FOLDERS:
            if at == len(parts) - 1:
                return True
            at += 1
            again = (at, name)
        elif isinstance(part, re.Pattern) and part.fullmatch(names[name]):
            at, name = at + 1, name + 1
        elif again is None:
            return False
        else:
            again = (again[0], again[1] + 1)
            at, name = again
    return at == len(parts)


def _segments(pattern: bytes) -> list[list[bytes]]:
    parts: list[list[bytes]] = [[]]
    for token in _tokens(pattern):
        if token == b"/":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _regex(tokens: list[bytes]) -> re.Pattern[bytes]:
    """Between two stars the first match is as good as any later one: no part is tried again, but for the last."""
    chunks: list[bytes] = [b""]
    for token in tokens:
        if token == b"*":
            chunks.append(b"")
        else:
            chunks[-1] += token
    first, *rest = chunks
    between = b"".join(b"(?>.*?%b)" % chunk for chunk in rest[:-1])
    return re.compile(first + between + b"".join(b".*" + chunk for chunk in rest[-1:]), re.DOTALL)


def _tokens(pattern: bytes) -> list[bytes]:
    """`*`, `/`, and for each other character or set an expression that matches one character."""
    tokens, at = [], 0
    while at < len(pattern):
        character = pattern[at : at + 1]
        if character == b"[":
            at, token = _set(pattern, at + 1)
        elif character == b"?":
            token = b"."
        elif character in {b"*", b"/"}:
            token = character
        else:
            at += character == b"\\"
            token = _escaped(pattern, at)
        tokens.append(token)
        at += 1
    return tokens


def _escaped(pattern: bytes, at: int) -> bytes:
    if at >= len(pattern):
        raise _Malformed
    return b"/" if pattern[at : at + 1] == b"/" else re.escape(pattern[at : at + 1])


def _set(pattern: bytes, at: int) -> tuple[int, bytes]:
    """A set, from behind its `[` to its `]`."""
    negated = pattern[at : at + 1] in {b"!", b"^"}
    at += negated
    members = set[int]()
    last: int | None = None
    first = at
    while at == first or pattern[at : at + 1] != b"]":
        at, last = _member(pattern, at, last, members)
        if at >= len(pattern):
            raise _Malformed
    found = {byte for byte in range(256) if (byte in members) != negated} - {ord("/")}
    return at, b"[%b]" % b"".join(b"\\x%02x" % byte for byte in sorted(found)) if found else b"(?!)"


def _member(pattern: bytes, at: int, last: int | None, members: set[int]) -> tuple[int, int | None]:
    """Adds one member of a set. Returns the position after it, and the character that may begin a range."""
    if pattern[at : at + 1] == b"-" and last and pattern[at + 1 : at + 2] not in {b"", b"]"}:
        at, high = _character(pattern, at + 1)
        members.update(range(last, high + 1))
        return at, None
    if pattern.startswith(b"[:", at):
        end = pattern.find(b"]", at + 2)
        if end < 0:
            raise _Malformed
        if end > at + 2 and pattern[end - 1 : end] == b":":
            members.update(_class(pattern[at + 2 : end - 1]))
            return end + 1, None
        members.add(ord("["))
        return at + 1, ord("[")
    at, last = _character(pattern, at)
    members.add(last)
    return at, last


def _class(name: bytes) -> set[int]:
    if name not in _CLASSES:
        raise _Malformed
    return {byte for byte in range(256) if re.fullmatch(_CLASSES[name], bytes([byte]))}


def _character(pattern: bytes, at: int) -> tuple[int, int]:
    at += pattern[at : at + 1] == b"\\"
    if at >= len(pattern):
        raise _Malformed
    return at + 1, pattern[at]
