"""From the name of a branch, tag or commit to the id of its object."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from taskrunner_git.failures import clone_failed, quoted

_FULL = re.compile(r"[0-9a-f]{40}")
_ABBREVIATED = re.compile(r"[0-9a-f]{4,39}")
_BAD = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|^[-/]|/$|\.lock$")
"""Characters and sequences that git allows in no name."""
_MAX_NAMED = 3


def validated(ref: str) -> str:
    """The ref, with a commit's id in lower case. Raises TaskFailed for a name that git does not allow."""
    if _BAD.search(ref):
        raise clone_failed(f'"{quoted(ref)}" can be no branch, tag or commit: git allows no such name')
    return ref.lower() if _FULL.fullmatch(ref.lower()) else ref


def is_commit(ref: str) -> bool:
    """Whether this is the full id of a commit."""
    return _FULL.fullmatch(ref) is not None


def prefixes(ref: str) -> list[bytes]:
    """The refs that a server is asked to list, instead of all its branches and tags."""
    if not ref or ref == "HEAD" or is_commit(ref):
        return [b"HEAD"]
    return [name.encode() for name in _candidates(ref)]


def find(ref: str, refs: Mapping[bytes, bytes]) -> tuple[str, str] | None:
    """The full name and the id of a ref among those that a server listed; a branch takes precedence over a tag."""
    if is_commit(ref):
        return "", ref
    names = _candidates(ref) if ref else ["HEAD"]
    return next(((name, refs[name.encode()].decode()) for name in names if name.encode() in refs), None)


def find_abbreviated(ref: str, refs: Mapping[bytes, bytes]) -> str | None:
    """The id with these first digits, if exactly one tip of a branch or tag has them."""
    found = {sha.decode() for sha in refs.values() if sha.startswith(ref.lower().encode())}
    return found.pop() if _ABBREVIATED.fullmatch(ref.lower()) and len(found) == 1 else None


def missing(ref: str, refs: Iterable[bytes]) -> str:
    """The error for a missing ref, which names similar ones."""
    known = [name.decode("utf-8", "replace") for name in refs]
    names = sorted({name.split("/", 2)[2] for name in known if name.startswith(("refs/heads/", "refs/tags/"))} - {""})
    names = [name for name in names if not name.endswith("^{}")]
    if not ref:
        return "has no commits yet" if not names else f"has no default branch: name one of {_some(names)}"
    hint = ""
    if _ABBREVIATED.fullmatch(ref.lower()):
        hint = "; a commit that is not the newest of a branch or tag needs all 40 digits"
    elif similar := difflib.get_close_matches(ref, names, _MAX_NAMED):
        hint = f"; did you mean {' or '.join(similar)}?"
    elif names:
        hint = f"; it has {_some(names)}"
    return f'has no branch, tag or commit "{quoted(ref)}"{hint}'


def _some(names: list[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(quoted(name) for name in names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _candidates(ref: str) -> list[str]:
    if ref == "HEAD" or ref.startswith("refs/"):
        return [ref]
    return [f"refs/heads/{ref}", f"refs/tags/{ref}"]
