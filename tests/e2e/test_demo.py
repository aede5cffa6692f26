"""`make demo`, where something is missing or in the way."""

from __future__ import annotations

import shutil
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from script import demo


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(demo, "FOLDER", tmp_path)
    monkeypatch.setattr(demo, "HOME", tmp_path / "home")
    return tmp_path


def test_without_git_the_process_task_runs_and_the_next_demo_is_a_whole_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    programs = folder / "bin"
    programs.mkdir()
    for name in ("sh", "date"):
        (programs / name).symlink_to(str(shutil.which(name)))
    with monkeypatch.context() as without_git:
        without_git.setenv("PATH", str(programs))
        assert demo.main() == 0
    out = capfd.readouterr().out
    assert "hello from a process" in out
    assert "git is not installed here" in out
    (folder / "git" / "web").mkdir(parents=True)  # what an interrupted demo leaves
    with suppress(OSError), socket.create_server(("127.0.0.1", 5137)):  # a well-known port that another program has
        assert demo.main() == 0
    out = capfd.readouterr().out
    assert "docker pull" in out
    assert "left behind: no containers" in out


def test_a_program_that_fails_is_told_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(demo.REPOSITORY, ".git/HEAD", "broken")
    assert demo.main() == 1
    out = capfd.readouterr().out
    assert "the image build could not be shown: " in out
    assert "not a git repository" in out
