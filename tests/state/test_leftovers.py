"""What could not be removed stands in a list until it is gone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from taskrunner.model import RunKey
from taskrunner.state.leftovers import forget_leftover, leftovers, note_leftover, removing_leftovers

RUN = RunKey("t1", 3)


def test_the_list_has_every_leftover_with_its_first_time_and_its_last_problems(tmp_path: Path) -> None:
    note_leftover(tmp_path, "w1", RUN, "docker", ["the container cannot be removed: no answer"])
    [first] = leftovers(tmp_path)
    note_leftover(tmp_path, "w1", RUN, "docker", ["the container cannot be removed: busy", "a folder"])
    note_leftover(tmp_path, "w2", None, "", ["process 7"])
    again, worker = leftovers(tmp_path)
    assert (again.run, again.platform, again.since, again.tries) == (RUN, "docker", first.since, 2)
    assert again.problems == ("the container cannot be removed: busy", "a folder")
    assert (worker.worker_id, worker.run) == ("w2", None)
    assert "run t1/3 has left behind, tries: 2: the container" in str(again)


def test_it_is_empty_when_everything_is_gone(tmp_path: Path) -> None:
    assert leftovers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    note_leftover(tmp_path, "w1", RUN, "docker", ["x"])
    for _ in range(2):
        forget_leftover(tmp_path, "w1", RUN)
    assert leftovers(tmp_path) == []


def test_only_the_worker_may_read_it(tmp_path: Path) -> None:
    note_leftover(tmp_path, "w1", RUN, "docker", ["x"])
    [file] = (tmp_path / "leftovers").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_one_worker_tries_at_a_time(tmp_path: Path) -> None:
    with removing_leftovers(tmp_path) as first:
        assert not first, "there is nothing to remove"
    note_leftover(tmp_path, "w1", RUN, "docker", ["x"])
    with removing_leftovers(tmp_path) as first, removing_leftovers(tmp_path) as second:
        assert (first, second) == (True, False)


@pytest.mark.parametrize("text", ["", "[]", '{"run": null}', '{"run": 3, "worker_id": "w"}'])
def test_a_file_that_is_no_record_is_left_out(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    note_leftover(tmp_path, "w1", RUN, "docker", ["x"])
    (tmp_path / "leftovers" / "bad.json").write_text(text)
    assert len(leftovers(tmp_path)) == 1
    assert "is no record of a leftover" in caplog.text
