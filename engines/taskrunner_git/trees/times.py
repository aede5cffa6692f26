"""The modification times of a commit's files.

Git stores none. Two programs compare the times of the files that are handed out: `make` compares two files of one
tree, and BuildKit compares a file with its own copy of an earlier build, by size and time alone. Hence three rules:

1. A file keeps its time until its content changes.
2. All files of a first fetch have one time, the commit's own, so that two machines make the same context.
3. Two contents of one path never share size and time.

The scheme: each fetch of another commit has one time, which is larger than that of every fetch before: the commit's
own time, or one nanosecond more than the last one, if the commit is not newer. What changed since the last fetch gets
this time, and everything else keeps the time that it had. The mirror remembers the last tree, and the time of each path
that changed since the first fetch.

- `make`: files that changed together are equal, and newer than those that did not change, as after `git pull`. `make`
  compares nanoseconds, and takes equal times as up to date. Hence committed generated files are not made again.
- Two branches that alternate: the paths in which they differ get a new time at each change, as after `git switch`.
- A commit older than the last one, or of the same second: its changed files are the newest all the same.
- A commit's time in the future or before 1980, which no zip archive can hold: limited to `EARLIEST` and `LATEST`. After
  a time in the future, the first commit of the past starts anew, as if the memory were lost.
- The memory is lost: all files have the commit's own time again, which an earlier content may have had. Hence `key`,
  a random name for one memory: BuildKit compares only with the copy of the same key. That copy belongs to one folder of
  the repository, too, since a path means another file in another folder.
- A file of attributes changes: the files below it whose conversion is another one count as changed.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import cattrs

from taskrunner_git.failures import Broken
from taskrunner_git.trees.tree_changes import compare

if TYPE_CHECKING:
    from taskrunner_git.packs.objects import Objects
    from taskrunner_git.trees.commit_tree import CommitTree

TIMES = "times"
"""The file in a mirror that remembers the times. Without it, the next fetch counts as the first."""
EARLIEST, LATEST = 315_705_600, 4_102_444_800
"""Seconds: 1980-01-03, the first day that is in 1980 in every time zone, and 2100-01-01."""
_FORMAT = 1
"""Another number when the same objects give other contents, or another list of files, than before."""
_NS = 10**9
_COMMITTER = re.compile(rb"^committer .*> (\d{1,18}) [+-]\d+$", re.MULTILINE)


@attrs.frozen
class FileTimes:
    """Nanoseconds since 1970, by full path in the repository."""

    key: str = ""
    """The name of the memory that these times are from."""
    commit: str = ""
    roots: Mapping[str, str] = attrs.field(factory=dict)
    """The root folder of the commit, and of each submodule by its path."""
    first: int = EARLIEST * _NS
    """The time of everything that is not in `changed`."""
    last: int = EARLIEST * _NS
    """The time of what changed in this commit; the largest of all."""
    changed: Mapping[str, int] = attrs.field(factory=dict)
    format: int = _FORMAT

    @property
    def state(self) -> str:
        """Names all that a list of the files is made of: the folders, and the time of each path."""
        return json.dumps([self.format, self.key, sorted(self.roots.items()), self.first, sorted(self.changed.items())])


def remember(folder: Path, tree: CommitTree, commit: str, clock: Callable[[], float] = time.time) -> FileTimes:
    """The times of a commit's files. The mirror at `folder` remembers them for the next fetch, durably: BuildKit must
    not see a time that is forgotten. Raises OSError, Broken, and TaskFailed for a hostile repository."""
    own = committed_at(tree.objects, commit)
    before = _read(folder / TIMES)
    times = _first(tree, commit, own)
    if before is not None and not own <= clock() * _NS < before.last:
        times = _next(before, tree, commit, own) or times
    if times != before:
        _write(folder / TIMES, times)
    return times


def committed_at(objects: Objects, commit: str) -> int:
    """The commit's own time in nanoseconds, from EARLIEST to LATEST."""
    found = _COMMITTER.search(objects.read(bytes.fromhex(commit))[1].partition(b"\n\n")[0])
    return min(max(int(found[1]) if found else 0, EARLIEST), LATEST) * _NS


def _first(tree: CommitTree, commit: str, own: int) -> FileTimes:
    return FileTimes(secrets.token_hex(8), commit, _roots(tree), own, own)


def _next(before: FileTimes, tree: CommitTree, commit: str, own: int) -> FileTimes | None:
    """None when the tree of the last fetch is not in the mirror any more, or its id is damaged."""
    roots = _roots(tree)
    if (before.commit, before.roots) == (commit, roots):
        return before
    try:
        changes = compare(tree, before.roots)
    except (Broken, ValueError):
        return None
    last = max(own, before.last + 1)
    changed = {path: ns for path, ns in before.changed.items() if not changes.removed(path)}
    return attrs.evolve(
        before, commit=commit, roots=roots, last=last, changed=changed | dict.fromkeys(sorted(changes.changed), last)
    )


def _roots(tree: CommitTree) -> dict[str, str]:
    return {path: part.root.hex() for path, part in tree.parts()}


def _read(path: Path) -> FileTimes | None:
    try:
        times = cattrs.structure(json.loads(path.read_bytes()), FileTimes)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, cattrs.BaseValidationError):
        return None
    return times if times.format == _FORMAT else None


def _write(path: Path, times: FileTimes) -> None:
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="ascii") as file:
        json.dump(attrs.asdict(times), file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
