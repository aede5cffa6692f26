"""The tree of a commit with its `.git`, written out as BuildKit does it and looked at by git itself."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import attrs
import pytest

from taskrunner.model import Source
from taskrunner_git import FileEntry, FileTree
from taskrunner_git.work_tree import checkout
from taskrunner_source import fetch_source
from tests.support.githttp import commit, git, make_repository
from tests.support.source_run import SourceRun


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    make_repository(tmp_path / "part", {"inner": "x"})
    make_repository(path, {"old": "x"})
    (path / "link").symlink_to("deep/er")
    (path / "run.sh").write_text("#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)
    git(path, "submodule", "--quiet", "add", str(tmp_path / "part"), "lib")
    commit(path, {"deep/er/file": "1", ".gitattributes": "*.txt eol=crlf\n", "a.txt": "a\n", ".github/x": "x"})
    return path


@attrs.frozen
class Copy:
    """What was sent: the entries, and a folder with them."""

    entries: list[FileEntry]
    folder: Path

    @property
    def times(self) -> dict[str, int]:
        return {each.path: each.mtime_ns for each in self.entries}


def copied(run: SourceRun, project: Path, ref: str = "main") -> Copy:
    target = run.home / f"copy{run.count}"

    async def scene() -> Copy:
        context = run.context(Source(str(project), ref))
        source = await fetch_source(context)
        try:
            tree = await source.files(".", keep_git=True)
            write(tree, target)
            return Copy(list(tree.entries()), target)
        finally:
            await source.release()
            assert not list(context.folder.iterdir())

    return asyncio.run(scene())


def write(tree: FileTree, target: Path) -> None:
    target.mkdir()
    for each in tree.entries():
        path = target / each.path
        if stat.S_ISDIR(each.mode):
            path.mkdir()
        elif stat.S_ISLNK(each.mode):
            path.symlink_to(each.link)
        else:
            path.write_bytes(b"".join(tree.read(each.path)))
            path.chmod(stat.S_IMODE(each.mode))
            assert path.stat().st_size == each.size
        os.utime(path, ns=(each.mtime_ns, each.mtime_ns), follow_symlinks=False)


def test_git_finds_it_clean_without_reading_a_file(run: SourceRun, project: Path) -> None:
    copy = copied(run, project)
    index = (copy.folder / ".git/index").read_bytes()
    assert git(copy.folder, "status", "--porcelain") == b""
    assert (copy.folder / ".git/index").read_bytes() == index, "no file was read for it"
    assert git(copy.folder, "rev-parse", "HEAD") == git(project, "rev-parse", "HEAD")
    git(copy.folder, "fsck", "--strict")
    assert git(copy.folder / "lib", "status", "--porcelain") == b""
    assert git(copy.folder / "lib", "rev-parse", "HEAD") == git(project, "rev-parse", "HEAD:lib")
    (copy.folder / "a.txt").write_text("changed")
    assert git(copy.folder, "status", "--porcelain") == b" M a.txt\n"


def test_a_tag_has_its_name(run: SourceRun, project: Path) -> None:
    git(project, "tag", "--annotate", "--message=x", "v1.2")
    assert git(copied(run, project).folder, "describe") == b"v1.2\n"


def test_a_submodule_in_it_is_a_repository_too(run: SourceRun, project: Path) -> None:
    copy = copied(run, project)
    [line] = git(copy.folder, "submodule", "status").decode().splitlines()
    assert line.split()[:2] == [git(project / "lib", "rev-parse", "HEAD").decode().strip(), "lib"], "no `-` or `+`"
    assert git(copy.folder / "lib", "status", "--porcelain") == b""
    (copy.folder / "lib/inner").write_text("changed")
    assert git(copy.folder, "status", "--porcelain") == b" M lib\n"


def test_the_entries_are_in_the_order_of_a_tree(run: SourceRun, project: Path) -> None:
    paths = [os.fsencode(each.path).split(b"/") for each in copied(run, project).entries]
    assert paths == sorted(paths)
    assert {b".git", b".gitattributes", b".github"} <= {path[0] for path in paths}


def test_two_contents_of_a_file_in_it_never_share_size_and_time(run: SourceRun, project: Path) -> None:
    first = copied(run, project)
    again = copied(run, project)
    assert again.times == first.times, "the same commit is sent once"
    sha = commit(project, {"deep/er/file": "2"})
    second = copied(run, project)
    git(project, "checkout", "--quiet", f"{sha}~1", "-B", "back")
    back = copied(run, project, "back")
    for one, other in ((first, second), (second, back), (first, back)):
        assert one.times[".git/HEAD"] != other.times[".git/HEAD"]
        assert one.times["a.txt"] == other.times["a.txt"], "unchanged files keep their time"


def test_files_of_one_size_and_another_content_are_told_apart(tmp_path: Path) -> None:
    """The same objects can be packed in two ways, and the index of a pack has one size for both."""
    times = []
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / name / ".git").mkdir(parents=True)
        (tmp_path / name / ".git/pack.idx").write_bytes(content)
        (folder, file) = checkout._listed(tmp_path / name, ".git", 10**18)
        assert folder.mtime_ns == 10**18
        assert 10**18 + 2 * 10**9 <= file.mtime_ns < 10**18 + 1200 * 10**9
        times.append(file.mtime_ns)
    assert times[0] != times[1]
    assert times[0] == times[2]
