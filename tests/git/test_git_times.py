"""The times of files: the three rules of `times`, and `make`, which compares them."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from taskrunner.interfaces.source import SourceLimits
from taskrunner_git import FileEntry, FileTree
from taskrunner_git.failures import Broken
from taskrunner_git.packs.index import Place
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack import BLOB, COMMIT, TREE
from taskrunner_git.trees.commit_tree import CommitTree
from taskrunner_git.trees.times import EARLIEST, LATEST, TIMES, remember
from tests.git.conftest import Fetcher
from tests.support.githttp import GitServer, commit, git, make_repository

NS = 10**9
MAKEFILE = "all: parser.c lexer.c\n%.c: %.y\n\tcp $< $@\n"


def files(version: str) -> dict[str, str | bytes]:
    return {f"{name}.{kind}": version for name in ("parser", "lexer") for kind in "yc"} | {"Makefile": MAKEFILE}


def is_up_to_date(source: FileTree, folder: Path) -> bool:
    """Whether `make` has nothing to do in these files."""
    for entry in source.entries():
        path = folder / entry.path
        if stat.S_ISDIR(entry.mode):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(source.read(entry.path)))
            os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
    return subprocess.run(["make", "--question"], cwd=folder, check=False, capture_output=True).returncode == 0


def at(seconds: int) -> dict[str, str]:
    return {"GIT_COMMITTER_DATE": f"@{seconds} +0200"}


# ---- make -------------------------------------------------------------------------------------------------


def test_make_rebuilds_no_committed_file_ten_times_out_of_ten_on_two_machines(
    root: Path, server: GitServer, tmp_path: Path
) -> None:
    make_repository(root / "web", files("0"))
    machines = [Fetcher(tmp_path / "mirror-a"), Fetcher(tmp_path / "mirror-b")]
    for number in range(1, 11):
        commit(root / "web", files(str(number)) | {f"new/{number}": "x"})
        for fetcher in machines if number % 3 else machines[:1]:
            with fetcher.commit(server.url("web"), "main") as source:
                assert is_up_to_date(source, tmp_path / f"{fetcher.mirror.name}-{number}")


def test_make_rebuilds_what_is_older_than_its_changed_source(
    root: Path, server: GitServer, fetcher: Fetcher, tmp_path: Path
) -> None:
    make_repository(root / "web", files("0"))
    fetcher.sha(server.url("web"))
    commit(root / "web", {"parser.y": "1"})
    with fetcher.commit(server.url("web")) as source:
        assert not is_up_to_date(source, tmp_path / "out")


def test_make_rebuilds_nothing_after_an_older_branch(
    root: Path, server: GitServer, fetcher: Fetcher, tmp_path: Path
) -> None:
    make_repository(root / "web", files("0"))
    git(root / "web", "checkout", "-q", "-b", "old")
    commit(root / "web", {"lexer.c": "only the generated file is another one"})
    git(root / "web", "commit", "-q", "--amend", "--no-edit", **at(1_000_000_000))
    for number, ref in enumerate(["main", "old", "main", "old"]):
        with fetcher.commit(server.url("web"), ref) as source:
            assert is_up_to_date(source, tmp_path / f"{number}")


# ---- a first fetch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("committed", "expected"),
    [(1_700_000_000, 1_700_000_000), (0, EARLIEST), (100, EARLIEST), (5_000_000_000, LATEST)],
)
def test_all_entries_of_a_first_fetch_have_the_time_of_the_commit(
    committed: int, expected: int, root: Path, server: GitServer, tmp_path: Path
) -> None:
    make_repository(root / "lib", {"d/l": "1"})
    make_repository(root / "web", files("0") | {"a/b/c": "x"})
    git(root / "web", "submodule", "add", "-q", server.url("lib"), "lib")
    git(root / "web", "commit", "-q", "-m", "x", **at(committed))
    for machine in ("a", "b"):
        with Fetcher(tmp_path / machine).commit(server.url("web")) as source:
            entries = list(source.entries())
        assert "lib/d/l" in {entry.path for entry in entries}
        assert {entry.mtime_ns for entry in entries} == {expected * NS}


def test_a_changed_file_of_a_submodule_alone_gets_another_time(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    make_repository(root / "lib", {"d/l": "1", "d/m": "1"})
    make_repository(root / "web", {"a": "x"})
    git(root / "web", "submodule", "add", "-q", server.url("lib"), "lib")
    git(root / "web", "commit", "-q", "-m", "x")
    fetcher.sha(server.url("web"))
    commit(root / "lib", {"d/l": "2"})
    git(root / "web" / "lib", "pull", "-q")
    commit(root / "web", {})
    with fetcher.commit(server.url("web")) as source:
        newer = {entry.path for entry in source.entries() if entry.mtime_ns != source.below(".").times.first}
        assert newer == {"lib", "lib/d", "lib/d/l"}
        assert {entry.path for entry in source.below("lib/d").entries() if entry.mtime_ns % NS} == {"l"}


def test_state_names_the_list_of_files_and_nothing_else(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    make_repository(root / "web", files("0"))
    lists: dict[str, list[FileEntry]] = {}

    def fetched() -> str:
        with fetcher.commit(server.url("web")) as source:
            assert lists.setdefault(source.state, [*source.entries()]) == [*source.entries()]
            return source.state

    first = fetched()
    assert fetched() == first
    commit(root / "web", {})
    assert fetched() == first
    (root / "web" / "parser.c").chmod(0o755)
    commit(root / "web", {})
    executable = fetched()
    commit(root / "web", {"parser.c": "1"})
    changed = fetched()
    git(root / "web", "revert", "--no-edit", "HEAD")
    back = fetched()
    assert len({first, executable, changed, back}) == 4, "the files are those of before, and their times are not"


def test_state_is_another_with_other_limits_submodules_and_memories(
    root: Path, server: GitServer, fetcher: Fetcher
) -> None:
    make_repository(root / "lib", {"l": "1"})
    make_repository(root / "web", files("0"))
    states = []

    def fetch() -> None:
        with fetcher.commit(server.url("web")) as source:
            states.append(source.state)

    fetch()
    fetcher.limits = SourceLimits(files=100)
    fetch()
    git(root / "web", "submodule", "add", "-q", server.url("lib"), "lib")
    git(root / "web", "commit", "-q", "-m", "x")
    fetch()
    (fetcher.mirror / TIMES).unlink()
    fetch()
    assert len(set(states)) == 4


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b'{"format": 0}', b'{"roots": {"": "x"}}', b"\xff"])
def test_a_damaged_memory_counts_as_lost(damage: bytes, root: Path, server: GitServer, fetcher: Fetcher) -> None:
    make_repository(root / "web", files("0"))
    with fetcher.commit(server.url("web")) as source:
        key = source.times_key
    (fetcher.mirror / TIMES).write_bytes(damage)
    commit(root / "web", {"parser.y": "1"})
    with fetcher.commit(server.url("web")) as source:
        assert {entry.mtime_ns % NS for entry in source.entries()} == {0}
        assert source.times_key != key


def test_a_time_in_the_future_is_forgotten_with_the_next_commit(tmp_path: Path) -> None:
    history = History(tmp_path)
    first = history.fetched({"a": "1"}, 2_000, clock=1_000)
    later = history.fetched({"a": "2"}, 900, clock=1_000)
    assert (later.key != first.key, later.times) == (True, {"a": (EARLIEST + 900) * NS})


# ---- the rules --------------------------------------------------------------------------------------------


class MemoryObjects:
    """Git objects in memory."""

    limits = SourceLimits()

    def __init__(self) -> None:
        self._objects: dict[bytes, tuple[int, bytes]] = {}

    def add(self, kind: int, data: bytes) -> bytes:
        name = {BLOB: b"blob", TREE: b"tree", COMMIT: b"commit"}[kind]
        sha = hashlib.sha1(b"%s %d\0%s" % (name, len(data), data), usedforsecurity=False).digest()
        self._objects[sha] = (kind, data)
        return sha

    def folder(self, contents: Mapping[str, str]) -> bytes:
        items = {}
        for name in {path.partition("/")[0] for path in contents}:
            inner = {path.partition("/")[2]: text for path, text in contents.items() if path.startswith(f"{name}/")}
            items[name] = (
                (b"40000", self.folder(inner)) if inner else (b"100644", self.add(BLOB, contents[name].encode()))
            )
        return self.add(TREE, b"".join(b"%s %s\0%s" % (m, n.encode(), s) for n, (m, s) in sorted(items.items())))

    @property
    def ids(self) -> set[bytes]:
        return {*self._objects}

    def remove(self, sha: bytes) -> None:
        del self._objects[sha]

    def spend(self, size: int) -> None: ...

    def read(self, sha: bytes) -> tuple[int, bytes]:
        if sha not in self._objects:
            raise Broken("it is missing")
        return self._objects[sha]

    def find(self, sha: bytes) -> Place | None:
        found = self._objects.get(sha)
        return Place(0, len(found[1]), found[0]) if found else None


@attrs.frozen
class Fetched:
    key: str
    times: dict[str, int]


class History:
    """Commits that are fetched into one mirror one after the other."""

    def __init__(self, mirror: Path) -> None:
        self.mirror, self.objects = mirror, MemoryObjects()

    def fetched(self, contents: Mapping[str, str], seconds: int, clock: int = LATEST) -> Fetched:
        """The times of the files of a commit that was made `seconds` after EARLIEST."""
        root = self.objects.folder(contents)
        head = f"tree {root.hex()}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> {EARLIEST + seconds} +0000\n\nx"
        sha = self.objects.add(COMMIT, head.encode())
        tree = CommitTree(cast("Objects", self.objects), root)
        tree.times = remember(self.mirror, tree, sha.hex(), lambda: EARLIEST + clock)
        return Fetched(tree.times.key, {e.path: e.mtime_ns for e in tree.entries() if stat.S_ISREG(e.mode)})


PATHS = ["a", "b", "d/a", "d/e/a", "d/e/b", "f/a"]
TREES = some.dictionaries(some.sampled_from(PATHS), some.sampled_from("1234"), min_size=1)
FETCHES = some.lists(some.tuples(TREES, some.integers(0, 3), some.integers(0, 9)), min_size=2, max_size=12)
"""Files, the second of the commit, and whether the memory is lost before: at 0."""


@given(FETCHES)
@settings(deadline=None)
def test_a_file_keeps_its_time_until_its_content_changes_and_no_two_contents_share_one(
    fetches: list[tuple[dict[str, str], int, int]],
) -> None:
    contents: dict[tuple[str, str, int], str] = {}
    before: tuple[dict[str, str], Fetched] | None = None
    with TemporaryDirectory() as folder:
        history = History(Path(folder))
        for tree, seconds, luck in fetches:
            if not luck:
                (history.mirror / TIMES).unlink(missing_ok=True)
                before = None
            now = history.fetched(tree, seconds)
            for path, text in tree.items():
                assert contents.setdefault((now.key, path, now.times[path]), text) == text
                if before and before[0].get(path) == text:
                    assert now.times[path] == before[1].times[path]
                elif before:
                    assert now.times[path] > max(before[1].times.values()), "newer than all files of before"
                else:
                    assert now.times[path] == (EARLIEST + seconds) * NS
            before = (tree, now)


@given(FETCHES)
@settings(deadline=None)
def test_the_memory_has_no_more_paths_than_the_commit(fetches: list[tuple[dict[str, str], int, int]]) -> None:
    with TemporaryDirectory() as folder:
        history = History(Path(folder))
        for tree, seconds, _ in fetches:
            history.fetched(tree, seconds)
            entries = {"", *tree} | {"/".join(p.split("/")[:n]) for p in tree for n in range(1, p.count("/") + 1)}
            root = CommitTree(cast("Objects", history.objects), history.objects.folder(tree))
            times = remember(history.mirror, root, history.objects.add(COMMIT, b"x").hex())
            assert set(times.changed) <= entries


# ---- what a commit needs ----------------------------------------------------------------------------------


@given(TREES, TREES, some.sampled_from(["", *PATHS]))
@settings(deadline=None)
def test_a_missing_object_is_found_beside_a_complete_commit_too(
    before: dict[str, str], after: dict[str, str], lost: str
) -> None:
    objects = MemoryObjects()
    complete = objects.folder(before)
    known = objects.ids
    root = objects.folder(after)
    tree = CommitTree(cast("Objects", objects), root)
    tree.check(complete)
    missing = objects.add(BLOB, after.get(lost, "").encode())
    if missing in known or lost not in after:
        return
    objects.remove(missing)
    for other in (None, complete):
        with pytest.raises(Broken):
            CommitTree(cast("Objects", objects), root).check(other)
