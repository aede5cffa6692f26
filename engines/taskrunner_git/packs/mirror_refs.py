"""The refs, the `shallow` file and `HEAD` of a mirror.

Each complete commit has a ref `refs/commits/<id>`, whose time in the file system is that of its last use. Beside these,
refs have the names that the server gives them, as after `git clone --mirror`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from dulwich.refs import DiskRefsContainer, Ref, check_ref_format

from taskrunner_git.failures import Broken

_COMMITS, _TAGS = "refs/commits/", "refs/tags/"
_SHALLOW = "shallow"
_HEX = 40
_MAX_NAME = 200
"""Bytes of a ref's name that is kept: a longer one may be none of the file system."""


class MirrorRefs:
    """Used by one fetch at a time."""

    def __init__(self, folder: Path) -> None:
        """Raises Broken, OSError, ValueError."""
        self._folder = folder
        self._refs = DiskRefsContainer(os.fsencode(folder))
        self.shallow = self._read_shallow()
        """The commits without their parents."""
        self.commits = self._read_commits()
        """The complete commits; the last one was used last."""

    def add_commit(self, sha: str) -> None:
        """Remembers a complete commit, or that it was used. Raises OSError."""
        path = self._folder / _COMMITS / sha
        if sha in self.commits:
            self.commits.remove(sha)
        self.commits.append(sha)
        replace(path, f"{sha}\n")

    def add_shallow(self, cut: Iterable[str], mended: Iterable[str] = ()) -> None:
        """Remembers commits without their parents, and those whose parents have come. Raises OSError."""
        shallow = self.shallow.difference(mended).union(cut)
        if shallow != self.shallow:
            self.shallow = shallow
            replace(self._folder / _SHALLOW, "".join(f"{sha}\n" for sha in sorted(shallow)))

    def add_name(self, name: str, sha: str) -> None:
        """Lets a ref of the server mean this object. A ref that stands in its way is removed: the server has it no
        longer. Raises OSError."""
        ref = name.encode()
        if not name.startswith("refs/") or not check_ref_format(Ref(ref)) or len(ref) > _MAX_NAME:
            return
        for other in self._refs.allkeys():
            if other.startswith(ref + b"/") or ref.startswith(other + b"/"):
                self._refs.remove_if_equals(other, None)
        replace(self._folder / name, f"{sha}\n")

    def keep_tags(self, commit: str, tags: Mapping[str, str], means: Callable[[str, str], bool]) -> None:
        """Makes these the tags of a commit: others that mean it are gone on the server. `means` tells whether an object
        means a commit. Raises OSError."""
        for name, sha in self.tags().items():
            if name not in tags and means(sha, commit):
                self._refs.remove_if_equals(Ref(name.encode()), None)
        for name, sha in tags.items():
            self.add_name(name, sha)

    def set_head(self, name: str) -> None:
        """Makes this branch the default one. Raises OSError."""
        if name.startswith("refs/heads/") and check_ref_format(Ref(name.encode())):
            replace(self._folder / "HEAD", f"ref: {name}\n")

    def named(self) -> dict[str, str]:
        """All refs but those of the commits: name and id."""
        found = {os.fsdecode(ref): sha.decode() for ref, sha in self._refs.as_dict().items()}
        return {name: sha for name, sha in found.items() if name.startswith("refs/") and not name.startswith(_COMMITS)}

    def tags(self) -> dict[str, str]:
        """The tags among `named`."""
        names = [_TAGS + os.fsdecode(name) for name in self._refs.subkeys(Ref(_TAGS.rstrip("/").encode()))]
        found = {name: self._refs.read_ref(Ref(os.fsencode(name))) for name in names}
        return {name: sha.decode() for name, sha in found.items() if sha and len(sha) == _HEX}

    def keep(self, commits: list[str], names: dict[str, str], shallow: set[str]) -> None:
        """Removes all other refs. Raises OSError."""
        kept = {*names, *(_COMMITS + sha for sha in commits)}
        for ref in list(self._refs.allkeys()):
            if ref.startswith(b"refs/") and os.fsdecode(ref) not in kept:
                self._refs.remove_if_equals(ref, None)
        self.commits = commits
        self.add_shallow((), self.shallow - shallow)

    def _read_shallow(self) -> set[str]:
        try:
            lines = (self._folder / _SHALLOW).read_text(encoding="ascii").split()
        except FileNotFoundError:
            return set()
        if any(len(line) != _HEX for line in lines):
            raise Broken("the mirror's list of shallow commits is damaged")
        return set(lines)

    def _read_commits(self) -> list[str]:
        found = []
        for name in self._refs.subkeys(Ref(_COMMITS.rstrip("/").encode())):
            sha = name.decode()
            if len(sha) != _HEX or self._refs.read_ref(Ref(f"{_COMMITS}{sha}".encode())) != name:
                raise Broken("a ref of the mirror is damaged")
            found.append(sha)
        return sorted(found, key=lambda sha: (_used(self._folder / _COMMITS / sha), sha))


def replace(path: Path, text: str) -> None:
    """Writes a small file, which is never seen half written. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".lock")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def _used(path: Path) -> int:
    """When a file was written; 0 for a ref that git has packed."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
