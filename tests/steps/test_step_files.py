"""The three files of a running step, and what a task does to them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskrunner.limits import MAX_STEP_FILE
from taskrunner.steps.assignments import AssignmentError
from taskrunner.steps.step_files import ENV, NAMES, OUTPUT, SCRIPT, StepFiles
from tests.process.process_bench import descriptors


@pytest.fixture
def files(tmp_path: Path) -> Iterator[StepFiles]:
    made = StepFiles.make(tmp_path / "steps", mode=0o600)
    yield made
    made.remove()


def test_each_step_finds_its_script_and_two_empty_files(files: StepFiles) -> None:
    for script in ("a long script\n", "short", "ä" * 100_000, ""):
        files.prepare(script)
        assert files.path(SCRIPT).read_text() == script
        assert files.read(OUTPUT) == files.read(ENV) == b""
        files.path(OUTPUT).write_text("A=1\n")
        with files.path(ENV).open("a") as file:
            file.write("B=2\n")
        assert (files.read(OUTPUT), files.read(ENV)) == (b"A=1\n", b"B=2\n")


def test_at_most_one_byte_too_many_is_read(files: StepFiles) -> None:
    with files.path(OUTPUT).open("wb") as file:
        file.truncate(1 << 40)
    assert len(files.read(OUTPUT)) == MAX_STEP_FILE + 1


def test_a_closed_mode_does_not_matter(files: StepFiles) -> None:
    files.path(OUTPUT).write_text("A=1\n")
    files.path(OUTPUT).chmod(0)
    assert files.read(OUTPUT) == b"A=1\n"


def test_a_file_that_was_removed_is_noticed(files: StepFiles) -> None:
    files.path(OUTPUT).unlink()
    with pytest.raises(AssignmentError, match="was removed"):
        files.read(OUTPUT)
    files.prepare("next")
    assert files.path(OUTPUT).read_bytes() == files.read(OUTPUT) == b""


def test_a_folder_that_was_removed_is_made_again(files: StepFiles) -> None:
    shutil.rmtree(files.folder)
    with pytest.raises(AssignmentError, match="was removed"):
        files.read(ENV)
    files.prepare("next")
    assert files.path(SCRIPT).read_text() == "next"
    files.path(ENV).write_text("A=1")
    assert files.read(ENV) == b"A=1"


@pytest.mark.parametrize("kind", ["link", "pipe", "file"])
def test_a_file_that_was_replaced_is_not_read(files: StepFiles, kind: str, tmp_path: Path) -> None:
    path = files.path(OUTPUT)
    (tmp_path / "secret").write_text("A=1\n")
    make: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to(tmp_path / "secret"),
        "pipe": lambda: os.mkfifo(path),
        "file": lambda: (tmp_path / "secret").rename(path),
    }
    path.unlink()
    make[kind]()
    with pytest.raises(AssignmentError, match="removed or replaced"):
        files.read(OUTPUT)
    files.prepare("next")
    assert files.read(OUTPUT) == b""
    assert (tmp_path / "secret").exists() == (kind != "file")


def test_a_folder_that_was_replaced_does_not_lead_elsewhere(files: StepFiles, tmp_path: Path) -> None:
    files.folder.rename(tmp_path / "away")
    files.folder.symlink_to(tmp_path)
    (tmp_path / SCRIPT).write_text("not mine")
    files.prepare("mine")
    assert files.path(SCRIPT).read_text() == "mine"
    assert (tmp_path / SCRIPT).read_text() == "not mine"
    files.remove()
    assert (tmp_path / SCRIPT).read_text() == "not mine"


def test_nothing_is_left(files: StepFiles) -> None:
    files.remove()
    assert not files.folder.exists()
    files.remove()


def test_after_an_error_nothing_is_left(tmp_path: Path) -> None:
    def refuse(_: int) -> None:
        raise PermissionError(1, "no")

    before = descriptors()
    with pytest.raises(PermissionError):
        StepFiles.make(tmp_path / "steps", mode=0o600, give=refuse)
    assert not (tmp_path / "steps").exists()
    assert descriptors() == before


def test_a_place_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "steps").symlink_to(tmp_path)
    with pytest.raises(FileExistsError):
        StepFiles.make(tmp_path / "steps", mode=0o600)


def test_the_files_have_their_mode_whatever_the_mask(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        files = StepFiles.make(tmp_path / "steps", mode=0o666)
    finally:
        os.umask(mask)
    assert [files.path(name).stat().st_mode & 0o777 for name in NAMES] == [0o666] * 3
    files.remove()
