"""Refs, on a real git server."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskrunner.errors import TaskFailed
from tests.git.conftest import Fetcher
from tests.support.githttp import GitServer, commit, git, make_repository


@pytest.fixture
def web(root: Path) -> Path:
    """A repository with two commits, a branch, and both kinds of tags."""
    path = root / "team" / "web"
    make_repository(path, {"a": "1\n"})
    git(path, "tag", "light")
    git(path, "tag", "--annotate", "--message=x", "v1.0")
    git(path, "tag", "--annotate", "--message=x", "tag-of-tag", "v1.0")
    git(path, "branch", "release/1")
    commit(path, {"a": "2\n"})
    commit(path, {"a": "3\n"})
    return path


def rev(web: Path, name: str) -> str:
    return git(web, "rev-parse", f"{name}^{{commit}}").decode().strip()


@pytest.mark.parametrize(
    "ref",
    ["main", "release/1", "refs/heads/release/1", "light", "v1.0", "refs/tags/v1.0", "tag-of-tag", "HEAD"],
)
def test_branches_and_tags(ref: str, web: Path, server: GitServer, fetcher: Fetcher) -> None:
    assert fetcher.sha(server.url("team/web"), ref) == rev(web, ref)


def test_the_default_branch(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    git(web, "symbolic-ref", "HEAD", "refs/heads/release/1")
    assert fetcher.sha(server.url("team/web")) == rev(web, "release/1")


@pytest.mark.parametrize("name", ["main", "main~1", "v1.0"])
def test_a_commit_by_its_full_id(name: str, web: Path, server: GitServer, fetcher: Fetcher) -> None:
    sha = rev(web, name)
    assert fetcher.sha(server.url("team/web"), sha.upper()) == sha


def test_a_commit_by_its_first_digits_when_a_branch_points_to_it(
    web: Path, server: GitServer, fetcher: Fetcher
) -> None:
    assert fetcher.sha(server.url("team/web"), rev(web, "main")[:8]) == rev(web, "main")


def test_the_first_digits_of_any_other_commit_are_refused(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    with pytest.raises(TaskFailed, match="needs all 40 digits"):
        fetcher.sha(server.url("team/web"), rev(web, "main~1")[:8])


def test_a_branch_takes_precedence_over_a_tag_of_the_same_name(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    git(web, "tag", "both", "main~2")
    git(web, "branch", "both", "main")
    assert fetcher.sha(server.url("team/web"), "both") == rev(web, "main")


def test_only_the_wanted_commit_is_transferred(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    with fetcher.commit(server.url("team/web"), "main"):
        pass
    [pack] = fetcher.mirror.glob("objects/pack/*.pack")
    assert int.from_bytes(pack.read_bytes()[8:12], "big") == 3, "a commit, a folder and a file"


def test_a_missing_branch_names_similar_ones(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    url = server.url("team/web")
    with pytest.raises(TaskFailed) as caught:
        fetcher.sha(url, "mian")
    assert caught.value.reason == "clone-failed"
    assert str(caught.value) == f'clone: {url} has no branch, tag or commit "mian"; did you mean main?'


def test_a_missing_branch_names_the_refs_that_exist(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    with pytest.raises(TaskFailed, match=r'"zzzzzz"; it has light, main, release/1 and 2 more'):
        fetcher.sha(server.url("team/web"), "zzzzzz")


def test_a_missing_commit(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    with pytest.raises(TaskFailed, match=r"has no commit .0123456789"):
        fetcher.sha(server.url("team/web"), "0123456789" * 4)


def test_an_empty_repository(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    (root / "empty").mkdir()
    git(root / "empty", "init", "--quiet")
    with pytest.raises(TaskFailed, match="has no commits yet"):
        fetcher.sha(server.url("empty"))


def test_a_tag_that_is_no_commit(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    git(web, "tag", "just-a-file", "main:a")
    with pytest.raises(TaskFailed, match="does not mean a commit"):
        fetcher.sha(server.url("team/web"), "just-a-file")


@pytest.mark.parametrize(
    "ref", ["-x", "--upload-pack=touch /tmp/x", "a b", "a\nb", "a..b", "x~1", "@{-1}", "a\x00", "/a"]
)
def test_an_invalid_ref_is_refused_before_any_request(ref: str, server: GitServer, fetcher: Fetcher) -> None:
    with pytest.raises(TaskFailed, match="can be no branch, tag or commit"):
        fetcher.sha(server.url("team/web"), ref)
    assert server.requests == []


def test_sha256_is_named_as_unsupported(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    (root / "new").mkdir()
    git(root / "new", "init", "--quiet", "--object-format=sha256", "--initial-branch=main")
    commit(root / "new", {"a": "1"})
    with pytest.raises(TaskFailed, match="SHA-256"):
        fetcher.sha(server.url("new"), "main")
