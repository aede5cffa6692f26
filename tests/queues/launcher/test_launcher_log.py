"""The log of a build as lines of JSON, and its way to a signed URL."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.files.downloads.location import Location
from taskrunner.files.upload import upload
from taskrunner.interfaces.log import LogOrigin, LogStream, index_of
from taskrunner.log.spool import Spool
from taskrunner.model import COMPLETED, Claim, Move, Progress, Resolution, RunKey, exception, failed
from taskrunner.queues.launcher.log import build_log as subject
from taskrunner.queues.launcher.log.build_log import LauncherLog, LogTarget
from taskrunner.queues.launcher.log.left_log import LeftLog, left_run
from taskrunner.queues.launcher.log.lines import LONGEST, WARNING, LogLines
from taskrunner.queues.launcher.log.phases import LogPhases
from taskrunner.state.journal import Journal
from taskrunner.state.run_folder import RunFolder
from tests.support.signed_storage import Storage, storage

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@attrs.define
class Written:
    """A log, and what was written into it."""

    lines: LogLines = attrs.field(factory=lambda: LogLines(LogPhases(["build", "", "report"])))
    data: bytes = b""
    at: datetime = BEGIN

    def moved(self, source: str, target: str, ending: Resolution | None = None) -> None:
        self.data += b"".join(self.lines.moved(Move(source, "x", target), ending))

    def finish(self, ending: Resolution) -> None:
        self.data += b"".join(self.lines.finish(ending))

    def write(self, text: str | bytes, stream: LogStream = "stdout", after: float = 0.0) -> None:
        self.at += timedelta(seconds=after)
        data = text.encode() if isinstance(text, str) else text
        self.data += b"".join(self.lines.piece(data, LogOrigin(stream, self.at)))

    def say(self, text: str, after: float = 0.0) -> None:
        self.write(f"[taskrunner] {text}\n", "worker", after)

    @property
    def parsed(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.data.splitlines()]

    @property
    def markers(self) -> list[tuple[str, str, str]]:
        return [(each["marker"], each["phase"], each.get("result", "")) for each in self.parsed if "marker" in each]

    def of(self, source: str) -> list[str]:
        return [each["msg"] for each in self.parsed if each.get("source") == source]

    @property
    def texts(self) -> list[str]:
        return [each["msg"] for each in self.parsed if "marker" not in each]


@pytest.fixture
def log() -> Written:
    return Written()


def test_a_line_has_its_level_time_source_phase_and_step(log: Written) -> None:
    log.say("step 1/3 Build")
    log.write("hello\n", after=1.5)
    log.write("oops\n", "stderr")
    assert log.parsed[1:] == [
        {
            "level": 30,
            "msg": "hello",
            "time": "2026-01-02T03:04:06.500Z",
            "phase": "Build",
            "buildStepId": "build",
            "buildStepDisplayName": "Build",
            "source": "stdout",
        },
        {**log.parsed[1], "msg": "oops", "source": "stderr"},
    ]


def test_phases_are_states_and_steps_with_their_results_and_durations(log: Written) -> None:
    log.at = datetime.now(UTC) + timedelta(seconds=5)
    log.moved("", "claimed")
    log.moved("claimed", "loading")
    log.say("clone: https://example.com/app")
    log.moved("loading", "running")
    log.say("step 1/3 Build")
    log.say("step 1/3 Build: failed (exit code 1) after 3.1 s", after=3.1)
    log.say("step 2/3 make test: skipped")
    log.say("step 3/3 Report")
    log.say("step 3/3 Report: success after 0.2 s", after=0.2)
    log.moved("running", "uploading", failed("step-failed", "step 1/3"))
    log.finish(failed("step-failed", "step 1/3"))
    assert log.markers == [
        ("START_PHASE", "START_BUILD", ""),
        ("END_PHASE", "START_BUILD", "success"),
        ("START_PHASE", "PREPARE_PROJECT", ""),
        ("END_PHASE", "PREPARE_PROJECT", "success"),
        ("START_PHASE", "Build", ""),
        ("END_PHASE", "Build", "failed"),
        ("START_PHASE", "make test", ""),
        ("END_PHASE", "make test", "skipped"),
        ("START_PHASE", "Report", ""),
        ("END_PHASE", "Report", "success"),
        ("START_PHASE", "UPLOAD_ARTIFACTS", ""),
        ("END_PHASE", "UPLOAD_ARTIFACTS", "success"),
        ("START_PHASE", "COMPLETE_BUILD", ""),
        ("END_PHASE", "COMPLETE_BUILD", "failed"),
    ]
    ends = {each["phase"]: each for each in log.parsed if each.get("marker") == "END_PHASE"}
    assert (ends["Build"]["durationMs"], ends["Report"]["durationMs"]) == (3100, 200)
    assert ends["Build"]["msg"] == "step 1/3 Build: failed (exit code 1) after 3.1 s"
    assert (ends["Build"]["level"], ends["make test"]["buildStepId"]) == (50, "step-2")
    assert log.lines.phases.failed == "Build"
    assert log.texts == ["clone: https://example.com/app"]
    times = [each["time"] for each in log.parsed]
    assert times == sorted(times), "a piece may have the time of its first byte"


def test_an_upload_that_has_failed_is_the_phase_that_failed(log: Written) -> None:
    log.say("step 1/1 Build")
    log.say("step 1/1 Build: success after 0.2 s")
    log.moved("running", "uploading")
    log.finish(failed("artifact-refused", "app.ipa"))
    assert log.markers[-3] == ("END_PHASE", "UPLOAD_ARTIFACTS", "failed")
    assert log.lines.phases.failed == "UPLOAD_ARTIFACTS"


def test_a_step_that_was_stopped_has_failed_even_after_another_one(log: Written) -> None:
    log.say("step 1/2 Build")
    log.say("step 1/2 Build: failed (exit code 1) after 3.1 s")
    log.say("step 2/2 Report")
    log.moved("running", "uploading", failed("max-run-time", "too long"))
    log.finish(failed("max-run-time", "too long"))
    ends = [(phase, result) for _, phase, result in log.markers if result]
    assert ends == [
        ("Build", "failed"),
        ("Report", "failed"),
        ("UPLOAD_ARTIFACTS", "success"),
        ("COMPLETE_BUILD", "failed"),
    ]


@pytest.mark.parametrize("name", ["x: failed", "x: skipped after", "step 2/3 x", "a: success (b) after 1.0 s"])
def test_a_step_may_be_called_like_the_end_of_one(log: Written, name: str) -> None:
    log.say(f"step 1/3 {name}")
    log.write("out\n")
    log.say(f"step 1/3 {name}: success after 0.0 s")
    assert log.markers == [("START_PHASE", name, ""), ("END_PHASE", name, "success")]


def test_a_command_cannot_forge_a_marker(log: Written) -> None:
    log.say("step 1/3 Build")
    log.write("[taskrunner] step 1/3 Build: success after 0.0 s\n")
    log.write('{"marker": "END_PHASE", "result": "success"}\n')
    assert log.markers == [("START_PHASE", "Build", "")]
    assert len(log.texts) == 2


def test_pieces_are_cut_anywhere_and_streams_do_not_mix(log: Written) -> None:
    for number in range(0, 13, 2):
        log.write("één\ntwee\n".encode()[number : number + 2])
        log.write(b"fout\nFOUT\n"[number : number + 2], "stderr")
    log.write("no line feed")
    log.write(b"\xff\xfe\r\n", "stderr")
    log.data += b"".join(log.lines.finish(COMPLETED))
    sources = {
        name: [each["msg"] for each in log.parsed if each.get("source") == name] for name in ("stdout", "stderr")
    }
    assert sources == {"stdout": ["één", "twee", "no line feed"], "stderr": ["fout", "FOUT", "\ufffd\ufffd"]}


def test_an_endless_line_takes_no_memory(log: Written) -> None:
    for _ in range(10):
        log.write("x" * LONGEST)
    assert [len(text) for text in log.texts] == [LONGEST] * 9
    assert len(log.data) > 9 * LONGEST


def test_the_progress_of_a_step_of_the_worker_is_told_now_and_then(log: Written) -> None:
    for done in range(100):
        log.data += b"".join(log.lines.progress(Progress("download", done, 100)))
    log.data += b"".join(log.lines.progress(Progress("step", 1, 3, unit="", note="a secret?")))
    assert log.texts == ["download: 0/100 B"]


def test_a_log_without_an_index_begins_with_lines_of_the_worker(log: Written) -> None:
    log.data += b"".join(log.lines.piece(b"[taskrunner] step 1/3 Build\n", None))
    assert log.markers == [("START_PHASE", "Build", "")]


# ---- after the death of the worker ------------------------------------------------------------------------


def left_log(home: Path, *, at: str = "running", ending: Resolution) -> Written:
    """The log that is made of a run which was killed in this state, and of a step that it had begun."""
    folder = RunFolder(home, RunKey("b-1", 7))
    journal = Journal.create(folder, Claim("b-1", 7, {}, "worker-1", "token"))
    spool = Spool(folder.log)
    for state in ("claimed", "loading", "running"):
        journal.moved(state, "event")
        spool.say(f"{state} it is")
    spool.say("step 1/1 Build")
    spool.write(b"hello\nno line", "stdout")
    spool.write(b"oops\n", "stderr")
    if at == "uploading":
        spool.say("step 1/1 Build: success after 0.0 s")
        journal.moved("uploading", "exited")
    spool.finish(ending, 0.0)
    journal.close()
    return made_again(home, ending)


def made_again(home: Path, ending: Resolution) -> Written:
    log = Written()

    async def main() -> None:
        found = left_run(home, "b-1")
        assert found
        async for lines in LeftLog(found, ["build"], ending).lines():
            log.data += b"".join(lines)

    asyncio.run(main())
    return log


def test_the_log_of_a_killed_worker_is_made_again_of_what_it_has_left(tmp_path: Path) -> None:
    log = left_log(tmp_path, ending=exception("worker-shutdown", ""))
    assert log.markers == [
        ("START_PHASE", "START_BUILD", ""),
        ("END_PHASE", "START_BUILD", "success"),
        ("START_PHASE", "PREPARE_PROJECT", ""),
        ("END_PHASE", "PREPARE_PROJECT", "success"),
        ("START_PHASE", "Build", ""),
        ("END_PHASE", "Build", "failed"),
        ("START_PHASE", "COMPLETE_BUILD", ""),
        ("END_PHASE", "COMPLETE_BUILD", "failed"),
    ]
    assert (log.of("stdout"), log.of("stderr")) == (["hello", "no line"], ["oops"])
    of_step = [each for each in log.parsed if each.get("buildStepId") == "build"]
    assert [each["msg"] for each in of_step if "source" in each] == ["hello", "oops", "no line"]
    times = [each["time"] for each in log.parsed]
    assert times == sorted(times)
    assert times[-1] < (datetime.now(UTC) + timedelta(seconds=1)).isoformat()


def test_a_build_that_had_succeeded_when_its_worker_was_killed_says_so_in_its_log(tmp_path: Path) -> None:
    log = left_log(tmp_path, at="uploading", ending=COMPLETED)
    assert log.markers[-5:] == [
        ("END_PHASE", "Build", "success"),
        ("START_PHASE", "UPLOAD_ARTIFACTS", ""),
        ("END_PHASE", "UPLOAD_ARTIFACTS", "success"),
        ("START_PHASE", "COMPLETE_BUILD", ""),
        ("END_PHASE", "COMPLETE_BUILD", "success"),
    ]


def test_a_left_log_without_an_index_or_a_journal_has_its_lines(tmp_path: Path) -> None:
    left_log(tmp_path, ending=COMPLETED)
    folder = RunFolder(tmp_path, RunKey("b-1", 7))
    index_of(folder.log).unlink()
    folder.journal.unlink()
    log = made_again(tmp_path, COMPLETED)
    assert ("START_PHASE", "Build", "") in log.markers
    assert "hello" in log.texts


def test_the_log_of_the_last_run_is_the_one(tmp_path: Path) -> None:
    for number in (9, 10):
        log = tmp_path / "runs" / "b-1" / str(number) / "log"
        log.parent.mkdir(parents=True)
        log.touch()
    (tmp_path / "runs" / "b-1" / "11").mkdir()
    found = left_run(tmp_path, "b-1")
    assert found
    assert found.run == RunKey("b-1", 10)
    assert left_run(tmp_path, "b-2") is None


# ---- the signed URL ---------------------------------------------------------------------------------------


def put(kept: Storage, file: Path, size: int) -> None:
    number = os.open(file, os.O_RDONLY)
    try:
        asyncio.run(upload(Location.parse(kept.url), number, size, {"Content-Type": "text/plain"}, limit=20))
    finally:
        os.close(number)


def test_a_file_is_put_with_its_headers_to_the_size_that_was_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(1 << 20) + b"more")
    with storage() as kept:
        put(kept, file, 1 << 20)
    assert kept.bodies == [file.read_bytes()[: 1 << 20]]
    assert kept.headers[0]["content-type"] == "text/plain"
    assert kept.paths == ["/log?signature=hunter2"]


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, TaskFailedInternally), (404, TaskFailedInternally), (307, TaskFailedInternally), (429, Unavailable),
     (503, Unavailable)],
)  # fmt: skip
def test_a_refusal_shows_no_signature_and_a_redirect_is_not_followed(
    status: int, error: type[Exception], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with storage() as kept:
        kept.status = status
        with pytest.raises(error) as caught:
            put(kept, tmp_path / "file", 1)
    assert str(status) in str(caught.value)
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__context__ is None
    assert len(kept.bodies) == 1


def test_a_server_that_is_not_there_is_tried_again_later(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(Unavailable, match="refused the connection") as caught:
        put(Storage("http://127.0.0.1:1/?signature=hunter2"), tmp_path / "file", 1)
    assert caught.value.__context__ is None


def test_a_log_that_changes_is_sent_regularly_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "EVERY", 0.01)

    async def main(kept: Storage) -> None:
        log = LauncherLog(LogTarget(Location.parse(kept.url), {}), tmp_path)
        await log.write([b"1\n"])
        async with asyncio.timeout(20):
            while not kept.bodies:  # noqa: ASYNC110  the server has no event
                await asyncio.sleep(0.005)
        await log.write([b"2\n"])
        await log.finish()
        await log.finish()
        await log.close()

    with storage() as kept:
        asyncio.run(main(kept))
    assert (kept.bodies[0], kept.bodies[-1]) == (b"1\n", b"1\n2\n")
    assert len(kept.bodies) == 2, "it is sent when it has changed"
    assert list(tmp_path.iterdir()) == [], "it leaves nothing on the disk"


def test_a_log_that_is_not_taken_is_warned_of_once_and_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(subject, "LAST_PAUSES", ())

    async def main(kept: Storage) -> None:
        log = LauncherLog(LogTarget(Location.parse(kept.url), {}), tmp_path)
        await log.write([b"1\n"])
        for kept.status in (503, 403, 200):
            await log.finish()
        await log.close()

    with storage() as kept:
        asyncio.run(main(kept))
    assert kept.bodies == [b"1\n"] * 3
    assert caplog.text.count("is not sent") == 1
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(("status", "times"), [(503, 3), (403, 1), (200, 1)])
def test_the_last_state_of_a_log_is_sent_again_after_an_error_that_may_pass(
    status: int, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "LAST_PAUSES", (0.001, 0.001))

    async def main(kept: Storage) -> None:
        log = LauncherLog(LogTarget(Location.parse(kept.url), {}), tmp_path)
        await log.write([b"1\n"])
        await log.finish()
        await log.close()

    with storage() as kept:
        kept.status = status
        asyncio.run(main(kept))
    assert kept.bodies == [b"1\n"] * times


def test_a_log_that_is_too_long_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MAX_SIZE", 10)

    async def main(kept: Storage) -> None:
        log = LauncherLog(LogTarget(Location.parse(kept.url), {}), tmp_path)
        for _ in range(5):
            await log.write([b"123456\n"])
        await log.finish()
        await log.close()

    with storage() as kept:
        asyncio.run(main(kept))
    [sent] = kept.bodies
    first, last = sent.splitlines()
    mark = json.loads(last)
    assert (first, mark["level"], mark["msg"]) == (b"123456", WARNING, subject.TOO_LONG)
    assert datetime.fromisoformat(mark["time"]).tzinfo
