"""The tree of a commit, compared with `git archive`."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from taskrunner.errors import TaskFailed, TaskFailedInternally
from taskrunner.interfaces.source import SourceLimits
from taskrunner_git.packs.tree_object import parse_tree
from tests.git.conftest import Fetcher, contents
from tests.support.githttp import GIT_ENV, GitServer, commit, git, make_repository

FILES = {
    "README.md": "# web\n",
    "a/b.txt": "b\n" * 3000,
    "a-b/c.txt": "c\n",
    "a.b": "sorts between the folders a and a-b in git, and not here\n",
    "bin/run": "#!/bin/sh\n",
    "empty": "",
    "big": bytes(range(256)) * 4096,
    "tief/ä/ö.txt": "umlaut\n",
}


@pytest.fixture
def web(root: Path) -> Path:
    path = root / "web"
    make_repository(path, FILES)
    (path / "bin/run").chmod(0o755)
    (path / "link").symlink_to("a/b.txt")
    (path / "dangling").symlink_to("/nowhere")
    (path / "links").mkdir()
    for name, target in {
        "up": "../../web",
        "loop": "loop",
        "deep": "../links/./umlauts",
        "umlauts": "../tief/ä",
    }.items():
        (path / "links" / name).symlink_to(target)
    with open(os.fsencode(path) + b"/latin-\xe9", "wb") as file:  # noqa: PTH123  a name that is no text
        file.write(b"bytes")
    commit(path, {f"many/{n:03}": f"{n}\n" * 50 for n in range(300)})
    return path


def archive(repository: Path, ref: str) -> dict[str, tuple[str, bytes]]:
    """The files in `git archive`: kind and contents by path."""
    found = {}
    data = git(repository, "archive", "--format=tar", ref)
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as tar:
        for member in tar:
            if member.isdir():
                found[member.name] = ("folder", b"")
            elif member.issym():
                found[member.name] = ("link", os.fsencode(member.linkname))
            else:
                file = tar.extractfile(member)
                assert file
                found[member.name] = ("program" if member.mode & 0o100 else "file", file.read())
    return found


def fetched(fetcher: Fetcher, url: str, ref: str) -> dict[str, tuple[str, bytes]]:
    found = {}
    with fetcher.commit(url, ref) as source:
        for entry in source.entries():
            if stat.S_ISDIR(entry.mode):
                found[entry.path] = ("folder", b"")
            elif stat.S_ISLNK(entry.mode):
                found[entry.path] = ("link", os.fsencode(entry.link))
            else:
                data = b"".join(source.read(entry.path))
                assert len(data) == entry.size
                found[entry.path] = ("program" if entry.mode & 0o100 else "file", data)
    return found


def test_a_tree_equals_git_archive(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    assert fetched(fetcher, server.url("web"), "main") == archive(web, "main")


def test_deep_chains_of_deltas_are_resolved(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    text = "".join(f"line {n}\n" for n in range(2000))
    commit(web, {f"versions/{n:04}": text.replace(f"line {n}\n", f"changed {n}\n" * 3) for n in range(400)})
    git(web, "repack", "-adfq", "--depth=4000", "--window=10", "--window-memory=0")
    assert fetched(fetcher, server.url("web"), "main") == archive(web, "main")
    [pack] = fetcher.mirror.glob("objects/pack/*.pack")
    assert pack.stat().st_size < 400_000, "the server sent deltas"


def test_the_order_is_by_component_and_a_folder_comes_before_its_content(
    web: Path, server: GitServer, fetcher: Fetcher
) -> None:
    with fetcher.commit(server.url("web"), "main") as source:
        paths = [os.fsencode(entry.path).split(b"/") for entry in source.entries()]
    assert paths == sorted(paths)
    assert paths.index([b"a"]) + 1 == paths.index([b"a", b"b.txt"])


def test_only_a_changed_file_and_its_folder_get_another_time(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    with fetcher.commit(server.url("web"), "main") as source:
        before = {entry.path: entry for entry in source.entries()}
    commit(web, {"a-b/c.txt": "d\n"})
    with fetcher.commit(server.url("web"), "main") as source:
        after = {entry.path: entry for entry in source.entries()}
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {"a-b", "a-b/c.txt"}
    assert before["a-b/c.txt"].size == after["a-b/c.txt"].size


def test_a_sub_folder_as_the_root(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    with fetcher.commit(server.url("web"), "main") as source:
        assert contents(source.below("tief/ä")) == {"ö.txt": b"umlaut\n"}
        assert contents(source.below("./tief//ä/")) == {"ö.txt": b"umlaut\n"}
        assert contents(source.below(".")) == contents(source)


def test_a_link_to_a_folder_is_followed_as_the_root(web: Path, root: Path, server: GitServer, fetcher: Fetcher) -> None:
    make_repository(root / "lib", {"d/l": "1"})
    git(web, "submodule", "add", "-q", server.url("lib"), "lib")
    (web / "into").symlink_to("lib/d/../../tief/ä/../../lib/d")
    commit(web, {".gitattributes": "tief/** eol=crlf\n"})
    with fetcher.commit(server.url("web"), "main") as source:
        for link in ("links/deep", "links/umlauts/"):
            assert contents(source.below(link)) == {"ö.txt": b"umlaut\r\n"}
        assert contents(source.below("into")) == {"l": b"1"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("tief/o", 'the context is not there: "tief" of the commit has no folder "o"; there is ä'),
        ("teif", 'the commit has no folder "teif"; there is tief'),
        ("README.md", 'has no folder "README.md"; there are a, a-b, bin, links, many'),
        ("link", '"a" of the commit has no folder "b.txt"'),
        ("dangling", 'the context "dangling" leads out of the repository over a symbolic link'),
        ("links/up", 'the context "links/up" leads out of the repository over a symbolic link'),
        ("links/loop/x", 'the context "links/loop/x" leads over more than 40 symbolic links'),
        ("../web", "leads out of the repository"),
        ("a/../../b", "leads out of the repository"),
    ],
)
def test_a_missing_sub_folder(path: str, message: str, web: Path, server: GitServer, fetcher: Fetcher) -> None:
    with fetcher.commit(server.url("web"), "main") as source, pytest.raises(TaskFailed) as caught:
        source.below(path)
    assert caught.value.reason == "clone-failed"
    assert message in str(caught.value)


def test_reading_a_folder_or_a_missing_file(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    with fetcher.commit(server.url("web"), "main") as source:
        with pytest.raises(FileNotFoundError):
            source.read("a/nothing")
        with pytest.raises(IsADirectoryError):
            source.read("a")


def test_lfs_pointers_are_left_and_named_once(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    commit(web, {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "x.bin": pointer})
    assert fetcher.files(server.url("web"), "main")["x.bin"] == pointer.encode()
    assert len([line for line in fetcher.lines if "LFS" in line]) == 1


# ---- hostile repositories ---------------------------------------------------------------------------------


def hostile(path: Path, entries: bytes) -> None:
    """A repository whose commit has a folder that git itself would refuse to make."""
    make_repository(path, {"a": "1"})
    make = ["git", "hash-object", "-t", "tree", "-w", "--stdin", "--literally"]
    tree = subprocess.run(make, cwd=path, env=GIT_ENV, input=entries, check=True, capture_output=True).stdout
    sha = git(path, "commit-tree", "-m", "x", tree.decode().strip()).decode().strip()
    git(path, "update-ref", "refs/heads/main", sha)


@pytest.mark.parametrize("name", [b"..", b".", b".git", b".GIT", b"a/b", b"../../etc/passwd"])
def test_a_hostile_name_is_refused(name: bytes, root: Path, server: GitServer, fetcher: Fetcher) -> None:
    make_repository(root / "x", {"a": "1"})
    blob = bytes.fromhex(git(root / "x", "rev-parse", "main:a").decode().strip())
    hostile(root / "web", b"100644 %s\0%s" % (name, blob))
    with pytest.raises(TaskFailed, match="forbidden name"):
        fetcher.sha(server.url("web"), "main")


def test_absurdly_deep_folders_are_refused(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    make_repository(root / "web", {"d/" * 500 + "x": "deep"})
    with pytest.raises(TaskFailed, match="folders more than 128 deep"), fetcher.commit(server.url("web")) as source:
        list(source.entries())


def test_a_few_trees_that_name_billions_of_files_are_refused(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    fetcher.limits = SourceLimits(files=10_000)
    make_repository(root / "web", {"a": "1"})
    sha = bytes.fromhex(git(root / "web", "rev-parse", "main:a").decode().strip())
    mode = b"100644"
    for _ in range(10):
        entries = b"".join(b"%s %d\0%s" % (mode, n, sha) for n in range(10))
        make = ["git", "hash-object", "-t", "tree", "-w", "--stdin"]
        out = subprocess.run(make, cwd=root / "web", env=GIT_ENV, input=entries, check=True, capture_output=True).stdout
        sha, mode = bytes.fromhex(out.decode().strip()), b"40000"
    top = git(root / "web", "commit-tree", "-m", "x", sha.hex()).decode().strip()
    git(root / "web", "update-ref", "refs/heads/main", top)
    limit = r"more than 10000 files and folders; .* `files` in \[source.limits\]"
    with fetcher.commit(server.url("web"), "main") as source, pytest.raises(TaskFailed, match=limit):
        list(source.entries())


def test_a_file_of_zeros_is_never_whole_in_memory(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    make_repository(root / "web", {"zeros": b"\0" * 8_000_000, ".gitattributes": b"\0" * 3_000_000})
    with fetcher.commit(server.url("web")) as source:
        pieces = [len(piece) for piece in source.read("zeros")]
    assert sum(pieces) == 8_000_000
    assert max(pieces) <= 1 << 18


def test_a_gitmodules_of_megabytes_is_refused(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    make_repository(root / "web", {".gitmodules": "#\n" * 600_000})
    with pytest.raises(TaskFailed, match=r"\.gitmodules is not well formed, or too large"):
        fetcher.sha(server.url("web"))


def test_a_link_longer_than_a_path_is_refused(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    make_repository(root / "web", {"target": "x" * 5000})
    blob = git(root / "web", "rev-parse", "main:target").decode().strip()
    git(root / "web", "update-index", "--add", "--cacheinfo", f"120000,{blob},link")
    git(root / "web", "commit", "--quiet", "--message=x")
    with pytest.raises(TaskFailed, match="link link is longer"), fetcher.commit(server.url("web"), "main") as source:
        list(source.entries())


def test_an_empty_name_and_half_a_folder_are_refused() -> None:
    with pytest.raises(TaskFailed, match="forbidden name"):
        list(parse_tree(b"100644 \0" + bytes(20)))
    for damaged in (
        b"100644 a\0" + bytes(19),
        b"100644 a",
        b"100644",
        b"junk a\0" + bytes(20),
        b"20000 a\0" + bytes(20),
    ):
        with pytest.raises(TaskFailedInternally):
            list(parse_tree(damaged))
