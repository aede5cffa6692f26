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
    [
        *("main", "release/1", "refs/heads/release/1", "light", "v1.0", "refs/tags/v1.0", "tag-of-tag", "HEAD", "@"),
        *("heads/main", "tags/v1.0", "refs/heads/main~1", "main~1", "main~2", "main~", "main^", "main^^", "main~1^1"),
        *("main~0", "main^0", "main^{}", "v1.0^{}", "main^{commit}", "@~1", "HEAD^^", "tag-of-tag^0", "main^{}~1"),
    ],
)
def test_branches_and_tags(ref: str, web: Path, server: GitServer, fetcher: Fetcher) -> None:
    assert fetcher.sha(server.url("team/web"), ref) == rev(web, ref)
    assert git(fetcher.mirror, "fsck", "--full", "--strict", "--no-dangling") == b""
    server.requests.clear()
    assert fetcher.sha(server.url("team/web"), ref) == rev(web, ref)
    assert len(server.requests) == 2, "the refs are read, and nothing is transferred"


def test_a_merge_and_its_parents(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    git(web, "checkout", "-q", "release/1")
    commit(web, {"b": "side\n"})
    commit(web, {"b": "side 2\n"})
    git(web, "checkout", "-q", "main")
    git(web, "merge", "-q", "-m", "merge", "release/1")
    url = server.url("team/web")
    for ref in ("main", "main^2", "main^1", "main^2~1", "main^2^", "main~2"):
        with fetcher.commit(url, ref) as source:
            assert source.sha == rev(web, ref)
            assert b"".join(source.read("a")) == git(web, "show", f"{ref}:a")
        assert git(fetcher.mirror, "fsck", "--full", "--strict", "--no-dangling") == b""
        assert git(fetcher.mirror, "rev-parse", ref).decode().strip() == source.sha
    with pytest.raises(TaskFailed, match=r"has 2 parents, and no number 3$"):
        fetcher.sha(url, "main^3")
    server.requests.clear()
    assert fetcher.sha(url, f"{rev(web, 'main')}^2~1") == rev(web, "main^2~1")
    assert server.requests == [], "the mirror has these commits"
    commit(web, {"a": "4\n"})
    assert fetcher.sha(url, "main~2") == rev(web, "main~2")
    assert git(fetcher.mirror, "fsck", "--full", "--strict", "--no-dangling") == b""


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("main~3", "the history ends before: commit [0-9a-f]{40} is the first one"),
        ("main^2", "has 1 parents, and no number 2"),
        ("main~101", '"main~101" goes back more than 100 commits.*give the full id of the commit'),
        ("main~60~60", "goes back more than 100 commits"),
        ("main~99999999999999999999", "goes back more than 100 commits"),
        ("main@{1}", "is looked up in the log of a checkout, which a server does not have"),
        ("@{upstream}", "is looked up in the log of a checkout"),
        ("main^{tree}", "can be no branch, tag or commit"),
        ("main~1\n", "can be no branch, tag or commit"),
        ("~1", "can be no branch, tag or commit"),
        ("nothing~1", 'has no branch, tag or commit "nothing"'),
    ],
)
def test_a_commit_before_another_that_cannot_be_had(
    ref: str, message: str, web: Path, server: GitServer, fetcher: Fetcher
) -> None:
    with pytest.raises(TaskFailed, match=message):
        fetcher.sha(server.url("team/web"), ref)


def test_a_ref_of_a_pull_request(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    git(web, "update-ref", "refs/pull/1/head", "main~1")
    git(web, "update-ref", "refs/remotes/fork/HEAD", "main~2")
    assert fetcher.sha(server.url("team/web"), "pull/1/head") == rev(web, "main~1")
    assert fetcher.sha(server.url("team/web"), "refs/pull/1/head") == rev(web, "main~1")
    assert fetcher.sha(server.url("team/web"), "fork") == rev(web, "main~2")


def test_a_branch_with_the_name_of_a_commit(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    name, url = "0123456789" * 4, server.url("team/web")
    git(web, "update-ref", f"refs/heads/{name}", "main~1")
    for ref in (name, f"heads/{name}", f"refs/heads/{name}"):
        assert fetcher.sha(url, ref) == rev(web, "main~1")
    assert f"clone: {name} is no commit here, and refs/heads/{name} is taken" in fetcher.lines
    git(web, "update-ref", f"refs/heads/{rev(web, 'main')}", "main~1")
    assert fetcher.sha(url, rev(web, "main")) == rev(web, "main"), "as git resolves it"
    [line] = [line for line in fetcher.lines if "ambiguous" in line]
    assert line.endswith(f"the commit is taken, not refs/heads/{rev(web, 'main')}")


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


def test_what_git_describe_prints(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    assert fetcher.sha(server.url("team/web"), f"v1.0-2-g{rev(web, 'main')[:7]}") == rev(web, "main")


def test_a_tag_takes_precedence_over_a_branch_of_the_same_name(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    git(web, "tag", "both", "main~2")
    git(web, "branch", "both", "main")
    assert fetcher.sha(server.url("team/web"), "both") == rev(web, "refs/tags/both")
    assert 'clone: warning: "both" is ambiguous: refs/tags/both is taken, not refs/heads/both' in fetcher.lines
    assert fetcher.sha(server.url("team/web"), "heads/both") == rev(web, "main")


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
    for ref in ("", "main", "0123456"):
        with pytest.raises(TaskFailed, match="is empty: it has no commits yet"):
            fetcher.sha(server.url("empty"), ref)


def test_a_repository_without_its_default_branch(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    git(web, "symbolic-ref", "HEAD", "refs/heads/gone")
    with pytest.raises(TaskFailed, match="has no default branch: name one of light, main, release/1 and 2 more"):
        fetcher.sha(server.url("team/web"))


def test_a_tag_that_is_no_commit(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    git(web, "tag", "just-a-file", "main:a")
    with pytest.raises(TaskFailed, match="does not mean a commit"):
        fetcher.sha(server.url("team/web"), "just-a-file")


@pytest.mark.parametrize("ref", ["-x", "--upload-pack=touch /tmp/x", "a b", "a\nb", "a..b", "x~1y", "a\x00", "/a"])
def test_an_invalid_ref_is_refused_before_any_request(ref: str, server: GitServer, fetcher: Fetcher) -> None:
    with pytest.raises(TaskFailed, match="can be no branch, tag or commit"):
        fetcher.sha(server.url("team/web"), ref)
    assert server.requests == []


def test_sha256_is_named_as_unsupported(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    (root / "new").mkdir()
    git(root / "new", "init", "--quiet", "--object-format=sha256", "--initial-branch=main")
    commit(root / "new", {"a": "1"})
    for ref in ("", "main", "nothing", "0123456789" * 4, git(root / "new", "rev-parse", "main").decode().strip()):
        with pytest.raises(TaskFailed, match="SHA-256, which is not supported"):
            fetcher.sha(server.url("new"), ref)
