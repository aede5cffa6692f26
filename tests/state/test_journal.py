"""The next worker reads in the journal which runs a dead worker held."""

from __future__ import annotations

import contextlib
import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest

from taskrunner.errors import MachineFault, MalformedPayload, TaskFailedInternally
from taskrunner.model import Claim, RunKey
from taskrunner.state.journal import Journal
from taskrunner.state.journal_reader import left_behind, read_journal, state_visits, unfinished
from taskrunner.state.run_folder import RunFolder
from tests.support.faults import fill
from tests.support.killed import run_until_ready_and_kill

CLAIM = Claim("t1", 0, {"platform": "docker", "env": {"PASSWORD": "hunter2"}}, "w1", "the-token")


def new_journal(home: Path, claim: Claim = CLAIM) -> Journal:
    return Journal.create(RunFolder(home, claim.run), claim)


def test_the_journal_has_the_claim_and_every_state(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, CLAIM.run)
    before = datetime.now(UTC)
    journal = new_journal(tmp_path)
    journal.moved("loading", "begin")
    journal.moved("resolved", "cleaned")
    journal.close()
    records = read_journal(folder.journal)
    assert [record.kind for record in records] == ["claimed", "moved", "moved"]
    assert records[0].data == {"worker_id": "w1", "platform": "docker", "token": "the-token"}
    assert before <= records[0].at <= records[1].at <= records[2].at <= datetime.now(UTC)
    visits = state_visits(records)
    assert [(visit.state, visit.event) for visit in visits] == [("loading", "begin"), ("resolved", "cleaned")]
    assert visits[0].took == (records[2].at - records[1].at).total_seconds()
    assert visits[1].took is None


def test_times_are_written_as_rfc_3339_with_microseconds(tmp_path: Path) -> None:
    new_journal(tmp_path).close()
    line = json.loads(RunFolder(tmp_path, CLAIM.run).journal.read_bytes())
    assert datetime.strptime(line["at"], "%Y-%m-%dT%H:%M:%S.%f%z").tzinfo == UTC
    assert line["at"].endswith("Z")


def test_only_the_owner_may_read_it_and_the_document_is_not_in_it(tmp_path: Path) -> None:
    new_journal(tmp_path).close()
    folder = RunFolder(tmp_path, CLAIM.run)
    assert stat.S_IMODE(folder.journal.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert b"hunter2" not in folder.journal.read_bytes()


def test_invalid_lines_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = RunFolder(tmp_path, CLAIM.run)
    new_journal(tmp_path).close()
    invalid = [b"{}", b"[1]", b"null", b"\xff\x00", b'{"at":"x","kind":"y"}', b"[" * 100_000, b'{"at":"2026-01-']
    with folder.journal.open("ab") as file:
        file.write(b"\n".join(invalid))
    journal = Journal.reopen(folder)
    journal.moved("resolved", "fatal")
    journal.close()
    assert [record.kind for record in read_journal(folder.journal)] == ["claimed", "moved"]
    assert "6 lines are no records" in caplog.text
    assert read_journal(tmp_path / "none") == []


def test_unfinished_are_the_runs_of_that_worker_without_an_end(tmp_path: Path) -> None:
    for number, (worker, state) in enumerate([("w1", "running"), ("w1", "resolved"), ("w2", "running")]):
        journal = new_journal(tmp_path, Claim("t1", number, {"platform": "docker"}, worker, f"token-{number}"))
        journal.moved(state, "x")
        journal.close()
    (tmp_path / "runs/t1/x").mkdir()
    (tmp_path / "runs/t1/x/journal.jsonl").write_bytes(b"")
    (tmp_path / "runs/t1/7/journal.jsonl").mkdir(parents=True)
    (run,) = unfinished(tmp_path, "w1")
    assert run.folder == RunFolder(tmp_path, RunKey("t1", 0))
    assert run.claim == Claim("t1", 0, {}, "w1", "token-0")
    assert run.platform == "docker"
    assert run.records[-1].state == "running"
    assert unfinished(tmp_path, "w3") == []


def test_every_record_survives_kill_9(tmp_path: Path) -> None:
    code = """
        import sys, pathlib
        from taskrunner.state.journal import Journal
        from taskrunner.state.run_folder import RunFolder
        from taskrunner.model import Claim
        claim = Claim("t1", 0, {"platform": 7}, "w1", "token")
        journal = Journal.create(RunFolder(pathlib.Path(sys.argv[1]), claim.run), claim)
        for number in range(100):
            journal.moved("running", f"event {number}")
        print("ready", flush=True)
        while True:
            number += 1
            journal.moved("running", f"event {number}")
    """
    run_until_ready_and_kill(code, tmp_path)
    (run,) = unfinished(tmp_path, "w1")
    events = [record.event for record in run.records if record.kind == "moved"]
    assert events == [f"event {number}" for number in range(len(events))]
    assert len(events) >= 100


def test_the_folder_of_an_earlier_run_of_the_same_name_is_renamed(tmp_path: Path) -> None:
    for _ in range(3):
        new_journal(tmp_path).close()
    assert sorted(path.name for path in (tmp_path / "runs/t1").iterdir()) == ["0", "0~1", "0~2"]
    assert len(read_journal(tmp_path / "runs/t1/0/journal.jsonl")) == 1


@pytest.mark.parametrize("task_id", ["", ".", "..", "../up", "a/b", "/etc", ".x", "a\n", "a" * 129, "é"])
def test_an_id_that_cannot_be_a_folder_is_refused(tmp_path: Path, task_id: str) -> None:
    with pytest.raises(MalformedPayload, match="cannot be the id of a task"):
        RunFolder(tmp_path, RunKey(task_id, 0))


def test_a_full_disk_is_a_warning_and_later_records_are_whole(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = new_journal(small_disk)
    filler = small_disk / "other"
    filler.write_bytes(bytes((64 << 10) - 4096))
    for number in range(100):
        journal.moved("running", f"event {number} {'x' * 100}")
    assert "lacks a record" in caplog.text
    filler.unlink()
    journal.moved("resolved", "cleaned")
    journal.close()
    journal.moved("late", "is only a warning")
    records = read_journal(RunFolder(small_disk, CLAIM.run).journal)
    assert records[-1].state == "resolved"
    numbers = [int(record.event.split()[1]) for record in records[1:-2]]
    assert numbers == list(range(len(records) - 3))
    missing = f"records that are missing here: {100 - len(numbers)} (No space left on device)"
    assert (records[-2].kind, records[-2].data["text"]) == ("note", missing)


def test_a_run_whose_first_record_does_not_fit_has_no_folder(small_disk: Path) -> None:
    new_journal(small_disk).close()
    fill(small_disk)
    with pytest.raises(MachineFault, match="No space left on device"):
        Journal.create(RunFolder(small_disk, RunKey("t1", 1)), attrs.evolve(CLAIM, run_id=1))
    assert [path.name for path in (small_disk / "runs/t1").iterdir()] == ["0"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(TaskFailedInternally, match="t1/0"):
        new_journal(tmp_path)


def strict_lines(folder: RunFolder) -> list[dict[str, object]]:
    """As any reader of JSON Lines has them: each line is a JSON value, and ends with a line feed."""
    text = folder.journal.read_bytes().decode("ascii")
    assert text.endswith("\n")

    def refuse(constant: str) -> float:
        raise ValueError(constant)

    return [json.loads(line, parse_constant=refuse) for line in text[:-1].split("\n")]


@pytest.mark.parametrize("half", [b"", b'{"at":"2026-01-', b"\xff"])
def test_every_line_is_json_also_after_a_crash_in_the_middle_of_one(tmp_path: Path, half: bytes) -> None:
    new_journal(tmp_path).close()
    folder = RunFolder(tmp_path, CLAIM.run)
    with folder.journal.open("ab") as file:
        file.write(half)
    journal = Journal.reopen(folder)
    journal.left(["a path with \udcff in it"])
    journal.moved("resolved", "worker_died")
    journal.close()
    assert [line["kind"] for line in strict_lines(folder)] == ["claimed", "left", "moved"]
    assert left_behind(read_journal(folder.journal)) == ("a path with ? in it",)


def test_every_line_is_json_also_on_a_full_disk(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, journal = RunFolder(small_disk, CLAIM.run), new_journal(small_disk)
    with (small_disk / "rest").open("wb", buffering=0) as rest, contextlib.suppress(OSError):
        while rest.write(bytes(4096)):
            pass
    for number in range(200):
        journal.moved("running", f"event {number} {'x' * 100}")
    (small_disk / "rest").unlink()
    journal.moved("resolved", "cleaned")
    journal.close()
    lines = strict_lines(folder)
    assert (lines[0]["kind"], lines[-1]["event"]) == ("claimed", "cleaned")
    assert len(lines) < 200
    assert "lacks a record, 'moved': No space left on device" in caplog.text
