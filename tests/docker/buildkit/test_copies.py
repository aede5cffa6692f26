"""The records of the daemon's copies: each is for one build, and none is for other files."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from taskrunner_docker.buildkit import copies as module
from taskrunner_docker.buildkit.copies import Copies, Copy

COPY = Copy("an-id", "a-state", 7)


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    return Copies(tmp_path / "docker" / "contexts")


def test_a_copy_is_taken_once(copies: Copies) -> None:
    copies.keep("key", COPY)
    assert copies.take("key", "a-state") == COPY
    assert copies.take("key", "a-state") is None


def test_one_of_many_builds_at_a_time_takes_it(copies: Copies) -> None:
    copies.keep("key", COPY)
    with ThreadPoolExecutor(8) as threads:
        taken = [*threads.map(lambda _: copies.take("key", "a-state"), range(32))]
    assert [copy for copy in taken if copy] == [COPY]


@pytest.mark.parametrize("state", ["another", ""])
def test_a_build_of_other_files_forgets_it(state: str, copies: Copies) -> None:
    copies.keep("key", COPY)
    assert copies.take("key", state) is None
    assert copies.take("key", "a-state") is None


def test_contexts_do_not_know_of_each_other(copies: Copies) -> None:
    copies.keep("../key", COPY)
    assert copies.take("key", "a-state") is None
    assert copies.take("../key", "a-state") == COPY


def test_files_without_a_name_are_not_recorded(copies: Copies) -> None:
    copies.keep("key", Copy("an-id", "", 7))
    assert not copies.folder.exists()
    assert copies.take("key", "") is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b"\xff", b'{"session_id": 1}', b"null"])
def test_a_damaged_record_is_none(damage: bytes, copies: Copies) -> None:
    copies.keep("key", COPY)
    [record] = copies.folder.iterdir()
    record.write_bytes(damage)
    assert copies.take("key", "a-state") is None
    assert [*copies.folder.iterdir()] == []


def test_a_folder_that_cannot_be_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    copies = Copies(tmp_path / "file" / "contexts")
    copies.keep("key", COPY)
    assert copies.take("key", "a-state") is None


def test_the_oldest_go_first(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RECORDS", 2)
    for number, key in enumerate("abc"):
        copies.keep(key, COPY)
        for record in copies.folder.iterdir():
            if record.stat().st_mtime_ns > 10**12:
                os.utime(record, ns=(number, number))
    assert [key for key in "abc" if copies.take(key, "a-state")] == ["b", "c"]


def test_they_are_the_workers_alone(copies: Copies) -> None:
    copies.keep("key", COPY)
    [record] = copies.folder.iterdir()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (copies.folder, record)]
    assert modes == [0o700, 0o600]
