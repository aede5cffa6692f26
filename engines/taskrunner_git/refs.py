"""From the name of a branch, tag or commit to the id of its object, by the rules of gitrevisions(7)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

import attrs

from taskrunner.errors import TaskFailed
from taskrunner_git.failures import clone_failed, quoted

_FULL = re.compile(r"[0-9a-f]{40}")
_ABBREVIATED = re.compile(r"(?:.+-g)?([0-9a-f]{4,39})")
"""The first digits of a commit, or what `git describe` makes of them."""
_STEP = re.compile(r"~(?P<back>\d*)|\^(?P<parent>\d*)(?!\{)|\^\{(?:commit)?\}", re.ASCII)
_STEPS = re.compile(r"(?:~\d*|\^\d*(?!\{)|\^\{(?:commit)?\})+\Z", re.ASCII)
_BAD = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|^[-/]|/$|\.lock$")
"""Characters and sequences that git allows in no name."""
_MAX_STEPS = 100
"""Commits before a branch or tag. All of them are transferred, each with its files."""
_MAX_DIGITS = 9
TAGS = "refs/tags/"
_MAX_TAGS = 16
"""Of one commit: a server could name millions."""
_MAX_NAMED = 3


@attrs.frozen
class Revision:
    """A name, and the steps from its commit to the one that is meant."""

    name: str
    """As in `git rev-parse`: HEAD for `@` and for an empty one; a commit's full id is in lower case."""
    steps: tuple[int, ...] = ()
    """For each step the number of the parent, from 1."""

    @property
    def depth(self) -> int:
        """Commits of the history that are needed."""
        return len(self.steps) + 1


def parse(ref: str) -> Revision:
    """Raises TaskFailed for a name that git does not allow, and for what only a checkout knows."""
    found = _STEPS.search(ref)
    name = ref[: found.start()] if found else ref
    if "@{" in ref:
        raise clone_failed(f'"{quoted(ref)}" is looked up in the log of a checkout, which a server does not have')
    if _BAD.search(name) or (found and not name):
        raise clone_failed(f'"{quoted(ref)}" can be no branch, tag or commit: git allows no such name')
    if name in {"", "@"}:
        name = "HEAD"
    return Revision(name.lower() if _FULL.fullmatch(name.lower()) else name, _steps(ref, found[0]) if found else ())


def _steps(ref: str, suffix: str) -> tuple[int, ...]:
    steps: list[int] = []
    for step in _STEP.finditer(suffix):
        back, parent = step["back"], step["parent"]
        if len(back or parent or "") > _MAX_DIGITS or (back and int(back) > _MAX_STEPS):
            raise _too_far(ref)
        if back is not None:
            steps += [1] * int(back or 1)
        elif parent is not None and int(parent or 1) > 0:
            steps.append(int(parent or 1))
    if len(steps) > _MAX_STEPS:
        raise _too_far(ref)
    return tuple(steps)


def _too_far(ref: str) -> TaskFailed:
    return clone_failed(
        f'"{quoted(ref)}" goes back more than {_MAX_STEPS} commits, all of which would be transferred: give the full '
        "id of the commit"
    )


def is_commit(name: str) -> bool:
    """Whether this is the full id of a commit."""
    return _FULL.fullmatch(name) is not None


def prefixes(name: str) -> list[bytes]:
    """The refs that a server is asked to list, instead of all its branches: git lists all tags too."""
    return [b"HEAD", TAGS.encode(), *(candidate.encode() for candidate in _candidates(name) if candidate != "HEAD")]


def tags_of(commit: str, listed: Mapping[bytes, bytes], peeled: Mapping[str, str]) -> dict[str, str]:
    """The tags among the refs that a server listed that mean a commit, and their objects. `peeled` are the commits of
    annotated tags."""
    found = {}
    for ref, sha in listed.items():
        name = ref.decode("utf-8", "replace")
        if name.startswith(TAGS) and peeled.get(name, sha.decode()) == commit and not name.endswith("^{}"):
            found[name] = sha.decode()
    return dict(sorted(found.items())[-_MAX_TAGS:])


def find(name: str, refs: Mapping[bytes, bytes]) -> list[str]:
    """The full names of the refs that a name can mean, among those that a server listed. The first one counts."""
    return [candidate for candidate in _candidates(name) if candidate.encode() in refs]


def find_abbreviated(name: str, refs: Mapping[bytes, bytes]) -> str | None:
    """The id with these first digits, if exactly one tip of a branch or tag has them."""
    digits = _ABBREVIATED.fullmatch(name.lower())
    found = {sha.decode() for sha in refs.values() if digits and sha.startswith(digits[1].encode())}
    return found.pop() if len(found) == 1 else None


def missing(name: str, refs: Iterable[bytes]) -> str:
    """The error for a missing ref, which names similar ones."""
    known = [ref.decode("utf-8", "replace") for ref in refs]
    names = sorted({ref.split("/", 2)[2] for ref in known if ref.startswith(("refs/heads/", "refs/tags/"))} - {""})
    names = [ref for ref in names if not ref.endswith("^{}")]
    if not known:
        return "is empty: it has no commits yet"
    if name == "HEAD":
        return f"has no default branch: name one of {_some(names)}" if names else "has no default branch, and no other"
    hint = ""
    if _ABBREVIATED.fullmatch(name.lower()):
        hint = "; a commit that is not the newest of a branch or tag needs all 40 digits"
    elif similar := difflib.get_close_matches(name, names, _MAX_NAMED):
        hint = f"; did you mean {' or '.join(similar)}?"
    elif names:
        hint = f"; it has {_some(names)}"
    return f'has no branch, tag or commit "{quoted(name)}"{hint}'


def _some(names: list[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(quoted(name) for name in names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _candidates(name: str) -> list[str]:
    if name == "HEAD" or name.startswith("refs/"):
        return [name]
    return [
        f"refs/{name}",
        f"refs/tags/{name}",
        f"refs/heads/{name}",
        f"refs/remotes/{name}",
        f"refs/remotes/{name}/HEAD",
    ]
