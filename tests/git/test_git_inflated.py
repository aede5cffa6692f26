"""The contents that a fetch keeps for the first read: bounded, and never other ones than those of the packs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taskrunner_git.packs import inflated
from taskrunner_git.packs.inflated import Inflated
from tests.git.conftest import Fetcher, contents, noise
from tests.support.githttp import GitServer, commit, git, make_repository

IDS = [bytes([number]) * 20 for number in range(8)]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Inflated]:
    with closing(Inflated(tmp_path)) as kept:
        yield kept


@pytest.fixture
def web(root: Path) -> Path:
    make_repository(root / "web", {"a": b"first\n" * 99, "empty": b"", "large": noise(1, 1 << 19)})
    return root / "web"


def blob(repository: Path, path: str) -> bytes:
    return bytes.fromhex(git(repository, "rev-parse", f"HEAD:{path}").decode())


def test_first_read_does_not_need_the_pack(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    with fetcher.commit(server.url("web"), "main") as first:
        [pack] = (fetcher.mirror / "objects/pack").glob("*.pack")
        offset = first.tree.objects.find(blob(web, "a"))
        assert offset is not None
        with pack.open("r+b") as file:
            file.seek(offset.offset)
            file.write(bytes(20))
        assert b"".join(first.read("a")) == b"first\n" * 99


def test_files_are_the_same_with_and_without(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    files = {path: (web / path).read_bytes() for path in ("a", "empty", "large")}
    assert fetcher.files(server.url("web"), "main") == files  # the first fetch
    assert fetcher.files(server.url("web"), "main") == files  # from the mirror
    commit(web, {"a": "second\n"})
    assert fetcher.files(server.url("web"), "main") == {**files, "a": b"second\n"}


def test_nothing_is_left_in_the_mirror(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    with fetcher.commit(server.url("web"), "main") as first:
        contents(first)
        names = {path.suffix for path in (fetcher.mirror / "objects/pack").iterdir()}
    assert names == {".pack", ".idx", ".sizes"}
    assert web.exists()


def test_what_is_kept_is_bounded(kept: Inflated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflated, "_MAX_SIZE", 25)
    for sha in IDS[:4]:
        kept.add(sha, sha[:1] * 10)
    assert [kept.get(sha) for sha in IDS[:4]] == [b"\0" * 10, b"\1" * 10, None, None]


def test_number_of_files_is_bounded(kept: Inflated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflated, "_MAX_FILES", 3)
    for sha in IDS:
        kept.add(sha, sha)
    assert [kept.get(sha) for sha in IDS] == [*IDS[:3], *[None] * 5]


def test_full_disk_is_no_error(tmp_path: Path) -> None:
    with closing(Inflated(tmp_path / "no such folder")) as kept:
        kept.add(IDS[0], b"data")
        assert kept.get(IDS[0]) is None
        kept.add(IDS[1], b"data")
        assert kept.get(IDS[1]) is None


def test_contents_that_cannot_be_read_back_are_not_found(kept: Inflated) -> None:
    kept.add(IDS[0], b"data")
    assert kept.get(IDS[0]) == b"data"
    assert kept._file is not None
    os.ftruncate(kept._file.fileno(), 2)
    assert kept.get(IDS[0]) is None


def test_it_can_be_used_again_after_it_was_closed(kept: Inflated) -> None:
    kept.add(IDS[0], b"data")
    kept.close()
    kept.close()
    assert kept.get(IDS[0]) is None
    kept.add(IDS[0], b"other")
    assert kept.get(IDS[0]) == b"other"
