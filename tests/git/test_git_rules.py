"""The rules for repositories hold for all that a fetch would read: submodules, redirects, and links on the disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from taskrunner.errors import TaskFailed
from taskrunner.schema.repositories import RepositoryRules
from taskrunner_git import fetch
from tests.git.conftest import Fetcher, contents
from tests.support.githttp import GitServer, add_submodule, make_repository


def fetched(url: str, mirror: Path, *patterns: str) -> dict[str, bytes]:
    async def whole() -> dict[str, bytes]:
        commit = await fetch(
            url,
            "",
            token=None,
            mirror=mirror,
            say=lambda _: None,
            progress=lambda _: None,
            rules=RepositoryRules(patterns),
        )
        try:
            return contents(commit)
        finally:
            commit.close()

    return asyncio.run(whole())


def refused(url: str, mirror: Path, *patterns: str) -> str:
    with pytest.raises(TaskFailed) as caught:
        fetched(url, mirror, *patterns)
    assert caught.value.reason == "source-refused"
    return str(caught.value)


@pytest.fixture
def lib(root: Path) -> str:
    return make_repository(root / "lib", {"l": "lib\n"})


@pytest.mark.parametrize("where", ["{path}/lib", "git@127.0.0.1:lib", "ssh://127.0.0.1/lib", "../../lib", "{other}"])
def test_a_submodule_obeys_the_rules_of_its_repository(
    where: str, lib: str, root: Path, server: GitServer, tmp_path: Path
) -> None:
    make_repository(root / "open" / "web", {"a": "1\n"})
    with GitServer(root) as other:
        add_submodule(root / "open/web", "lib", where.format(path=root, other=other.url("open/lib")), lib)
        if "path" in where:  # of a repository over the network, no rule allows it
            text = refused(str(root / "open/web"), tmp_path / "mirror", f"{root}/open")
        else:
            allowed = server.url("open"), f"http://127.0.0.1:{server.port}/open"
            text = refused(server.url("open/web"), tmp_path / "mirror", *allowed, "http://127.0.0.1:1/lib")
        assert other.requests == []
    assert "submodule lib: " in text
    assert "set `submodules = false`" in text


def test_a_relative_submodule_below_the_allowed_folder_is_fetched(
    lib: str, root: Path, server: GitServer, tmp_path: Path
) -> None:
    make_repository(root / "web", {"a": "1\n"})
    add_submodule(root / "web", "lib", "../lib", lib)
    assert fetched(server.url("web"), tmp_path / "mirror", server.url("*"))["lib/l"] == b"lib\n"


def test_a_server_redirects_to_no_repository_that_the_rules_refuse(
    lib: str, root: Path, server: GitServer, tmp_path: Path
) -> None:
    with GitServer(root) as inside:
        server.redirect = inside.url("")
        text = refused(server.url("lib"), tmp_path / "mirror", server.url(""))
        assert f"{inside.url('lib')} is not among the repositories that this worker allows" in text
        assert inside.requests == []
        assert fetched(server.url("lib"), tmp_path / "mirror", "http://127.0.0.1:*") == {"l": b"lib\n"}


@pytest.mark.parametrize("target", ["file:///etc/info/refs?service=x", "ssh://host/x", "ext::sh", "http://[::1", "//"])
def test_a_server_redirects_to_nothing_but_a_server(
    target: str, server: GitServer, root: Path, fetcher: Fetcher
) -> None:
    make_repository(root / "web", {"a": "1\n"})
    server.redirect = target
    with pytest.raises(TaskFailed, match=r"^(clone|source): "):
        fetcher.sha(server.url("web"))


def test_a_link_does_not_lead_out_of_an_allowed_folder(lib: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "web").symlink_to(root / "lib")
    mirror = tmp_path / "mirror"
    for pattern in (f"{tmp_path}/open", f"{tmp_path}/open/*", f"{tmp_path}/op*/web"):
        text = refused(f"{tmp_path}/open/web", mirror, pattern)
        assert text == refused(f"{tmp_path}/open/web", mirror)
    assert str(root) not in text
    assert fetched(f"{tmp_path}/open/web", mirror, f"{tmp_path}/open", str(root)) == {"l": b"lib\n"}


def test_an_allowed_folder_may_be_a_link_itself(lib: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    for number, pattern in enumerate([f"{tmp_path}/alias", f"{tmp_path}/alias/l*", f"file://{tmp_path}/alias/lib"]):
        assert fetched(f"{tmp_path}/alias/lib", tmp_path / f"mirror{number}", pattern) == {"l": b"lib\n"}


def test_whether_a_refused_path_exists_is_not_said(lib: str, root: Path, tmp_path: Path) -> None:
    there = refused(str(root / "lib"), tmp_path / "mirror", "git.example.com")
    gone = refused(str(root / "gone"), tmp_path / "mirror", "git.example.com")
    assert there.replace("lib", "gone") == gone
