"""Removing the files of runs: in steps, each of which may be the last one that is done."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from taskrunner.model import Claim, RunKey
from taskrunner.state import run_files
from taskrunner.state.journal import Journal
from taskrunner.state.journal_reader import pruned_at, read_journal, state_visits
from taskrunner.state.run_files import RunFiles, find_runs, task_folders
from taskrunner.state.run_folder import RunFolder


def finished(home: Path, task_id: str = "t", run_id: int = 0, worker_id: str = "w") -> RunFolder:
    folder = RunFolder(home, RunKey(task_id, run_id))
    journal = Journal.create(folder, Claim(task_id, run_id, {}, worker_id, "token"))
    journal.moved("claimed", "claim")
    journal.moved("resolved", "cleaned")
    journal.close()
    folder.log.write_bytes(b"x" * 1000)
    (folder.path / "log.index").write_bytes(b"x" * 10)
    return folder


def found(home: Path) -> list[RunFiles]:
    return sorted(find_runs(home, task_folders(home)), key=lambda files: files.path)


def names(folder: RunFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


def test_runs_are_found_with_their_end_and_size(tmp_path: Path) -> None:
    os.utime(finished(tmp_path).journal, (5, 5))
    finished(tmp_path, "other", 7)
    (tmp_path / "runs/.hidden/0").mkdir(parents=True)
    (tmp_path / "runs/t/notes").mkdir()
    (tmp_path / "runs/t/1").write_text("a file")
    (tmp_path / "runs/t/2").symlink_to("/etc")
    (tmp_path / "runs/a file").touch()
    other, first = found(tmp_path)
    assert (first.run, first.changed, first.size) == (RunKey("t", 0), 5, 1010)
    assert other.run == RunKey("other", 7)
    assert found(tmp_path / "none") == []


def test_a_stripped_run_keeps_its_journal_with_its_time(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    before = folder.journal.stat().st_mtime_ns
    [files] = found(tmp_path)
    for _ in range(2):  # it may be repeated
        assert run_files.mark(files)
        run_files.strip(files)
    assert names(folder) == ["journal.jsonl"]
    assert folder.journal.stat().st_mtime_ns == before
    records = read_journal(folder.journal)
    assert pruned_at(records)
    assert [record.kind for record in records] == ["claimed", "moved", "moved", "pruned"]
    assert [visit.state for visit in state_visits(records)] == ["claimed", "resolved"]
    assert found(tmp_path)[0].size == 0


def test_a_removal_that_was_interrupted_is_continued(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    [files] = found(tmp_path)
    assert run_files.mark(files)  # killed here: the log is still there, and the journal says that it goes
    assert pruned_at(read_journal(folder.journal))
    [files] = found(tmp_path)
    assert files.size == 1010
    trash = tmp_path / "runs/.pruned"
    trash.mkdir()
    folder.path.rename(trash / "0123")  # killed there: in the middle of `remove`
    assert found(tmp_path) == []
    assert run_files.empty_trash(tmp_path) == []
    assert list(trash.iterdir()) == []


def test_a_removed_run_leaves_no_folder_and_others_stay(tmp_path: Path) -> None:
    finished(tmp_path)
    later = finished(tmp_path, run_id=1)
    [first, _] = found(tmp_path)
    assert run_files.remove(tmp_path, first) == []
    assert [path.name for path in (tmp_path / "runs/t").iterdir()] == ["1"]
    assert names(later) == ["journal.jsonl", "log", "log.index"]
    [second] = found(tmp_path)
    assert run_files.remove(tmp_path, second) == []
    assert not (tmp_path / "runs/t").exists()


@pytest.mark.parametrize("step", ["mark", "strip", "remove"])
def test_a_new_run_that_has_taken_the_path_is_not_touched(tmp_path: Path, step: str) -> None:
    finished(tmp_path)
    [files] = found(tmp_path)
    new = finished(tmp_path)  # the old one is set aside, as `0~1`
    steps = {"mark": run_files.mark, "strip": run_files.strip}
    (steps[step] if step in steps else lambda files: run_files.remove(tmp_path, files))(files)  # type: ignore[operator]
    assert names(new) == ["journal.jsonl", "log", "log.index"]
    assert pruned_at(read_journal(new.journal)) is None
    aside = found(tmp_path)[1]
    assert aside.set_aside
    assert run_files.remove(tmp_path, aside) == []
    assert [path.name for path in (tmp_path / "runs/t").iterdir()] == ["0"]


def test_a_folder_that_vanishes_is_no_error(tmp_path: Path) -> None:
    finished(tmp_path)
    [files] = found(tmp_path)
    assert run_files.remove(tmp_path, files) == []
    assert run_files.mark(files) is False
    run_files.strip(files)
    assert run_files.remove(tmp_path, files) == []


def test_a_run_is_over_by_its_journal_or_when_nobody_knows_its_worker(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, RunKey("t", 0))
    Journal.create(folder, Claim("t", 0, {}, "w", "token")).close()
    [files] = found(tmp_path)
    assert not run_files.has_ended(files, ["w", "other"])
    assert run_files.has_ended(files, ["other"])
    finished(tmp_path, "ended", worker_id="w")
    assert run_files.has_ended(found(tmp_path)[0], ["w"])


def test_half_a_line_of_a_killed_worker_does_not_swallow_the_mark(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    with folder.journal.open("ab") as journal:
        journal.write(b'{"at": "20')
    [files] = found(tmp_path)
    assert run_files.mark(files)
    assert pruned_at(read_journal(folder.journal))
    assert all(json.loads(line) for line in folder.journal.read_text().splitlines())


def test_a_run_without_a_journal_is_marked_too(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    folder.journal.unlink()
    [files] = found(tmp_path)
    assert run_files.mark(files)
    run_files.strip(files)
    assert pruned_at(read_journal(folder.journal))
    assert folder.journal.stat().st_mode & 0o777 == 0o600


def test_a_working_folder_that_a_clean_up_has_left_stays_until_the_whole_run_goes(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    folder.work.mkdir()
    (folder.work / "file").touch()
    [files] = found(tmp_path)
    run_files.strip(files)
    assert names(folder) == ["journal.jsonl", "work"]
    assert run_files.remove(tmp_path, files) == []
    assert not folder.path.exists()
