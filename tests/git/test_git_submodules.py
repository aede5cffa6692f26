"""Submodules: which are fetched, from where, and what is said about the others."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner_git import fetch
from taskrunner_git.remote import parse_url
from tests.git.conftest import Fetcher, contents
from tests.support.githttp import GIT_ENV, GitServer, add_submodule, git, make_repository

TOKEN = "the-t0ken/with+odd=signs"


def test_nested_submodules_with_relative_urls_are_fetched(root: Path, locked: GitServer, fetcher: Fetcher) -> None:
    inner = make_repository(root / "team/inner", {"i": "inner\n"})
    lib = root / "team/lib"
    make_repository(lib, {"l": "lib\n"})
    add_submodule(lib, "vendor/inner", "../inner", inner)
    web = root / "team/web"
    make_repository(web, {"a": "1\n", "libs/z": "z\n"})
    add_submodule(web, "libs/lib", "../lib", git(lib, "rev-parse", "HEAD").decode().strip())
    with fetcher.commit(locked.url("team/web"), token=TOKEN) as source:
        paths = [entry.path for entry in source.entries()]
        assert paths == [
            ".gitmodules",
            "a",
            "libs",
            "libs/lib",
            "libs/lib/.gitmodules",
            "libs/lib/l",
            "libs/lib/vendor",
            "libs/lib/vendor/inner",
            "libs/lib/vendor/inner/i",
            "libs/z",
        ]
        assert b"".join(source.read("libs/lib/vendor/inner/i")) == b"inner\n"
        assert [entry.path for entry in source.below("libs/lib/vendor").entries()] == ["inner", "inner/i"]
        assert b"".join(source.below("libs/lib").read("vendor/inner/i")) == b"inner\n"
    locked.requests.clear()
    sha = git(web, "rev-parse", "HEAD").decode().strip()
    assert len(fetcher.files(locked.url("team/web"), sha, TOKEN)) == 6
    assert locked.requests == []
    git(web, "rm", "-q", "--cached", "libs/lib", ".gitmodules")
    git(web, "commit", "-q", "--message=without")
    fetcher.sha(locked.url("team/web"), "main", TOKEN)
    assert list((fetcher.mirror / "modules").iterdir()) == []


def test_the_token_is_not_sent_to_a_submodule_on_another_host(root: Path, locked: GitServer, fetcher: Fetcher) -> None:
    sha = make_repository(root / "lib", {"l": "lib\n"})
    make_repository(root / "web", {"a": "1\n"})
    with GitServer(root, token=TOKEN) as other:
        add_submodule(root / "web", "lib", other.url("lib"), sha)
        with pytest.raises(TaskFailed, match=rf"{other.port}/lib needs a token, and none was given"):
            fetcher.sha(locked.url("web"), "main", TOKEN)


@pytest.mark.parametrize(
    "url", ["/etc", "file:///etc", "ext::sh", "-x", "../../../../x/../../etc", "ftp://x/y", "--x=y"]
)
def test_a_submodule_with_a_forbidden_url_is_refused(url: str, root: Path, server: GitServer, fetcher: Fetcher) -> None:
    sha = make_repository(root / "lib", {"l": "lib\n"})
    make_repository(root / "web", {"a": "1\n"})
    add_submodule(root / "web", "lib", url, sha)
    with pytest.raises(TaskFailed) as caught:
        fetcher.sha(server.url("web"), "main")
    assert caught.value.reason == "clone-failed"


def test_a_submodule_without_a_url_stays_empty(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    sha = make_repository(root / "web", {"a": "1\n", ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = ../x\n'})
    git(root / "web", "update-index", "--add", "--cacheinfo", f"160000,{sha},lib")
    git(root / "web", "commit", "--quiet", "--message=x")
    assert set(fetcher.files(server.url("web"), "main")) == {"a", ".gitmodules"}
    assert any("submodule lib has no URL" in line for line in fetcher.lines)


def test_a_submodule_that_names_itself_ends(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    sha = make_repository(root / "web", {"a": "1\n"})
    for _ in range(12):
        (root / "web/.gitmodules").unlink(missing_ok=True)
        add_submodule(root / "web", "me", "../web", sha)
        sha = git(root / "web", "rev-parse", "HEAD").decode().strip()
    with pytest.raises(TaskFailed, match="nested more than 8 deep"):
        fetcher.sha(server.url("web"), "main")


# ---- which ones -------------------------------------------------------------------------------------------


@attrs.define
class Project:
    """A repository with three submodules, one of them in another one."""

    fetcher: Fetcher
    url: str
    web: Path

    def files(self, submodules: bool | Sequence[str]) -> set[str]:
        """The names of the files in the submodules."""
        commit = asyncio.run(
            fetch(
                self.url,
                "main",
                token=None,
                mirror=self.fetcher.mirror,
                say=self.fetcher.lines.append,
                progress=self.fetcher.progress.append,
                submodules=submodules,
            )
        )
        try:
            return set(contents(commit)) - {".gitmodules", "libs/one/.gitmodules", "a"}
        finally:
            commit.close()


@pytest.fixture
def project(root: Path, server: GitServer, fetcher: Fetcher) -> Project:
    inner = make_repository(root / "inner", {"i": "inner\n"})
    make_repository(root / "one", {"1": "one\n"})
    add_submodule(root / "one", "deep/inner", "../inner", inner)
    two = make_repository(root / "two", {"2": "two\n"})
    make_repository(root / "web", {"a": "1\n"})
    add_submodule(root / "web", "libs/one", "../one", git(root / "one", "rev-parse", "HEAD").decode().strip())
    add_submodule(root / "web", "libs/two", "../two", two)
    return Project(fetcher, server.url("web"), root / "web")


ONE, INNER, TWO = "libs/one/1", "libs/one/deep/inner/i", "libs/two/2"


@pytest.mark.parametrize(
    ("submodules", "files"),
    [
        (True, {ONE, INNER, TWO}),
        (False, set()),
        ([], set()),
        (["libs/one"], {ONE, INNER}),
        (["libs/two/"], {TWO}),
        (["libs"], {ONE, INNER, TWO}),
        (["libs/one/deep/inner", "libs/two"], {ONE, INNER, TWO}),
        (("libs/one/deep/inner",), {ONE, INNER}),
    ],
)
def test_a_choice_of_submodules(submodules: bool | Sequence[str], files: set[str], project: Project) -> None:
    assert project.files(submodules) == files
    said = [line for line in project.fetcher.lines if "is not among those that the task asks for" in line]
    assert bool(said) == (files != {ONE, INNER, TWO})


def test_submodules_that_are_left_out_stay_in_the_mirror(project: Project, server: GitServer) -> None:
    project.files(submodules=True)
    assert project.files(submodules=False) == set()
    server.requests.clear()
    assert project.files(submodules=True) == {ONE, INNER, TWO}
    assert len(server.requests) == 2, "for the branch of the project itself"


@pytest.mark.parametrize("path", ["libs/three", "a", "libs/one/deep/outer", "lib", ""])
def test_a_submodule_that_does_not_exist_is_refused(path: str, project: Project) -> None:
    with pytest.raises(TaskFailed, match=rf'^clone: the commit has no submodule at "{path}"; it has libs/one, libs'):
        project.files([path])


def test_a_submodule_without_update_stays_empty(project: Project) -> None:
    git(project.web, "config", "--file=.gitmodules", "submodule.libs/two.update", "none")
    git(project.web, "config", "--file=.gitmodules", "submodule.libs/one.update", "rebase")
    git(project.web, "config", "--file=.gitmodules", "submodule.libs/one.branch", "no-such-branch")
    git(project.web, "config", "--file=.gitmodules", "submodule.libs/one.shallow", "false")
    git(project.web, "commit", "--quiet", "--message=x", ".gitmodules")
    assert project.files(submodules=True) == {ONE, INNER}
    said = "clone: submodule libs/two has `update = none` in .gitmodules and stays empty"
    assert said in project.fetcher.lines
    assert project.files(["libs/two"]) == set(), "as with git, even when it is named"


def test_an_unreachable_submodule_is_named_with_the_way_out(project: Project, root: Path) -> None:
    (root / "inner").rename(root / "moved")
    with pytest.raises(TaskFailed) as caught:
        project.files(submodules=True)
    message = str(caught.value)
    assert message.startswith("clone: submodule libs/one/deep/inner: http://127.0.0.1:")
    assert "/inner was not found" in message
    assert message.endswith(
        "to leave it out, set `submodules = false`, or list those that are needed: `submodules = [paths]`"
    )
    assert project.files(["libs/two"]) == {TWO}
    git(project.web, "config", "--file=.gitmodules", "submodule.libs/two.url", "https://no-such-host.invalid/two")
    git(project.web, "commit", "--quiet", "--message=x", ".gitmodules")
    with pytest.raises(
        Unavailable, match=r"^clone: submodule libs/two: no-such-host.invalid is not known.*leave it out"
    ):
        project.files(["libs/two"])


def test_a_commit_that_the_submodule_lacks(project: Project) -> None:
    git(project.web, "update-index", "--cacheinfo", f"160000,{'0123456789' * 4},libs/two")
    git(project.web, "commit", "--quiet", "--message=x")
    with pytest.raises(TaskFailed, match=r"^clone: submodule libs/two: .*/two has no commit .0123456789"):
        project.files(submodules=True)


def test_a_few_trees_that_name_billions_of_submodules_are_refused(project: Project) -> None:
    sha, mode = bytes.fromhex(git(project.web, "rev-parse", "HEAD").decode().strip()), b"160000"
    for _ in range(10):
        entries = b"".join(b"%s %d\0%s" % (mode, n, sha) for n in range(10))
        make = ["git", "hash-object", "-t", "tree", "-w", "--stdin"]
        out = subprocess.run(make, cwd=project.web, env=GIT_ENV, input=entries, check=True, capture_output=True).stdout
        sha, mode = bytes.fromhex(out.decode().strip()), b"40000"
    blob = bytes.fromhex(git(project.web, "rev-parse", "HEAD:.gitmodules").decode().strip())
    entries = b"100644 .gitmodules\0%s40000 d\0%s" % (blob, sha)
    top_tree = subprocess.run(make, cwd=project.web, env=GIT_ENV, input=entries, check=True, capture_output=True).stdout
    top = git(project.web, "commit-tree", "-m", "x", top_tree.decode().strip()).decode().strip()
    git(project.web, "update-ref", "refs/heads/main", top)
    with pytest.raises(TaskFailed, match="more than 1000 submodules"):
        project.files(submodules=False)


# ---- relative URLs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["../lib", "../../lib", "./lib", "./../lib.git", "../.././lib", "../lib/", "../a/../lib"]
)
@pytest.mark.parametrize(
    "parent",
    [
        "https://host.example/team/web.git",
        "https://host.example/team/web/",
        "ssh://git@host.example:2222/team/web",
        "git@host.example:team/web",
        "git@host.example:/srv/team/web",
        "/srv/git/team/web",
    ],
)
def test_a_relative_url_is_resolved_as_by_git(parent: str, url: str, tmp_path: Path) -> None:
    sha = make_repository(tmp_path / "web", {"a": "1"})
    add_submodule(tmp_path / "web", "lib", url, sha)
    git(tmp_path / "web", "remote", "add", "origin", parent)
    git(tmp_path / "web", "submodule", "--quiet", "init")
    resolved = git(tmp_path / "web", "config", "submodule.lib.url").decode().strip()
    ours = parse_url(parent).submodule(url)
    assert ours == attrs.evolve(parse_url(resolved), path=ours.path)
    assert ours.path == parse_url(resolved.replace("a/../", "")).path.rstrip("/")


@pytest.mark.parametrize(
    ("parent", "url"),
    [
        ("https://host.example/web", "../../other.example/lib"),
        ("git@host.example:web", "../../lib"),
        ("git@host.example:web", "../a/../../lib"),
        ("/web", "../../lib"),
        ("https://host.example/web", "../"),
        ("https://host.example/web", "./a b"),
        ("git@host.example:web", "../-x"),
    ],
)
def test_a_relative_url_that_leads_out_is_refused(parent: str, url: str) -> None:
    with pytest.raises(TaskFailed, match="leads out of"):
        parse_url(parent).submodule(url)
