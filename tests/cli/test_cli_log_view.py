"""`logs --timestamps` and `logs --stderr`."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from taskrunner.cli.display.log_view import LATE, LogView
from taskrunner.cli.display.sanitize import sanitize
from taskrunner.log.log_index import Mark, encode
from tests.support.command_line import CommandLine, CommandResult, open_gate

SEPARATE = "separate_stderr = true"
TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ")
UNKNOWN = b"-".ljust(25)
NOON = int(datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()) * 1000


# ---- the view, without a process ------------------------------------------------------------------------


async def each(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def shown(view: LogView, pieces: list[bytes], *marks: Mark, offset: int = 0) -> bytes:
    index = b"".join(map(encode, marks))

    async def collect() -> bytes:
        reading = view.show(each(pieces), offset, lambda begin: each([index[begin:]]))
        return b"".join([piece async for piece in reading])

    return asyncio.run(collect())


def stamp(seconds: int) -> bytes:
    return b"2026-11-28T12:00:%02d.000Z " % seconds


def at(offset: int, stream: str, seconds: int) -> Mark:
    return Mark(offset, stream, NOON + seconds * 1000)  # type: ignore[arg-type]


TEXT = b"one\ntwo\n\n10%\r20%\r\r\nthree\r\nlast"
MARKS = at(0, "stdout", 1), at(4, "stderr", 2), at(6, "stdout", 3), at(13, "both", 4), at(19, "stderr", 5)


def test_each_line_has_the_time_of_its_first_byte_however_the_log_is_cut() -> None:
    parts = [b"one\n", b"two\n", b"\n", b"10%\r", b"20%\r\r\n", b"three\r\n", b"last"]
    whole = b"".join(stamp(seconds) + part for seconds, part in zip((1, 2, 3, 3, 4, 5, 5), parts, strict=True))
    for size in range(1, len(TEXT) + 1):
        pieces = [TEXT[begin : begin + size] for begin in range(0, len(TEXT), size)]
        assert shown(LogView(timestamps=True), pieces, *MARKS) == whole, size


def test_a_line_that_is_redrawn_has_its_newest_time_on_a_terminal() -> None:
    text = sanitize(shown(LogView(timestamps=True), [TEXT], *MARKS))
    assert stamp(4).decode() + "20%\n" in text
    assert "10%" not in text


def test_only_stderr_is_shown_byte_by_byte() -> None:
    view = LogView(only_stderr=True)
    assert shown(view, [TEXT], *MARKS) == b"tw" + TEXT[19:]
    assert view.may_miss_stderr  # a part has both
    assert [note for note in view.notes() if "separate_stderr = true" in note]
    view = LogView(only_stderr=True, timestamps=True)
    assert shown(view, [TEXT], *MARKS[:3]) == stamp(2) + b"tw"
    assert not view.may_miss_stderr
    assert list(view.notes()) == []


def test_an_offset_counts_in_the_bytes_of_the_log() -> None:
    assert shown(LogView(only_stderr=True), [TEXT[5:]], *MARKS[:3], offset=5) == b"w"
    assert shown(LogView(timestamps=True), [TEXT[5:8]], *MARKS, offset=5) == stamp(2) + b"wo\n"


@pytest.mark.parametrize("size", [10, LATE + 10])
def test_without_an_index_the_log_is_shown_without_times(size: int) -> None:
    view, text = LogView(timestamps=True), b"x" * size + b"\ntwo\n"
    assert shown(view, [text[:7], text[7:]]) == UNKNOWN + text[:-4] + UNKNOWN + b"two\n"
    assert view.no_index
    assert not view.may_miss_stderr


def test_a_part_that_the_index_does_not_cover_is_reported() -> None:
    view = LogView(timestamps=True, only_stderr=True)
    assert shown(view, [b"one\ntwo\n"], at(0, "stderr", 1), Mark(4)) == stamp(1) + b"one\n"
    assert view.may_miss_stderr
    assert list(view.notes()) == ["the index of this log does not cover all of it"]


def test_a_log_waits_for_its_index_which_begins_later() -> None:
    index: list[bytes] = []

    async def scene() -> list[bytes]:
        async def log() -> AsyncIterator[bytes]:
            yield b"first\n"
            index.append(encode(at(0, "worker", 1)) + encode(at(6, "stdout", 2)))
            yield b"second\n"

        def read(begin: int) -> AsyncIterator[bytes]:
            return each([b"".join(index)[begin:]])

        return [piece async for piece in LogView(timestamps=True).show(log(), 0, read)]

    assert asyncio.run(scene()) == [stamp(1) + b"first\n" + stamp(2) + b"second\n"]


# ---- the command ----------------------------------------------------------------------------------------


def times_of(result: CommandResult) -> list[datetime]:
    return [datetime.fromisoformat(TIME.match(line)[1].decode()) for line in result.raw.splitlines()]  # type: ignore[index]


def test_each_line_begins_with_its_time(cli: CommandLine) -> None:
    began = datetime.now(UTC).replace(microsecond=0)
    cli("run", "--task", cli.task("timed", "echo one; echo two >&2; printf 'no end'"))
    plain, timed = cli("logs", "timed"), cli("logs", "timed", "--timestamps")
    assert (timed.status, timed.err) == (0, "")
    assert TIME.sub(b"", timed.raw) == plain.raw
    times = times_of(timed)
    assert len(times) == 5
    assert times == sorted(times)
    assert began <= times[0]
    assert times[-1] <= datetime.now(UTC)
    assert cli("logs", "timed", "-t", "--offset", "10").raw == timed.raw[:25] + timed.raw[35:]


def test_stderr_is_printed_alone(cli: CommandLine) -> None:
    script = "printf 'out '; printf '\\000err ' >&2; echo put; echo or >&2; exit 3"
    cli("run", "--task", cli.task("both", script, SEPARATE))
    only = cli("logs", "both", "--stderr")
    assert (only.status, only.raw, only.err) == (0, b"\x00err or\n", "")
    timed = cli("logs", "both", "--stderr", "--timestamps")
    assert TIME.sub(b"", timed.raw) == only.raw
    assert len(times_of(timed)) == 1
    cli("run", "--task", cli.task("quiet", "echo out", SEPARATE))
    nothing = cli("logs", "quiet", "--stderr")
    assert (nothing.status, nothing.everything) == (0, "")


def test_a_secret_that_stdout_divides_is_not_whole_in_stderr(cli: CommandLine) -> None:
    script = 'printf "%.3s" "$TOKEN" >&2; echo out; printf "%s" "${TOKEN#???}" >&2'
    cli("run", "--task", cli.task("secret", script, SEPARATE + '\n[secrets]\nTOKEN = "hunter2-secret"'))
    assert cli("logs", "secret", "--stderr").raw == b"***"
    assert b"hunter2-secret" not in cli("logs", "secret").raw


def test_a_log_of_one_pipe_says_that_it_cannot_tell_stderr(cli: CommandLine) -> None:
    cli("run", "--task", cli.task("merged", "echo out; echo err >&2"))
    ended = cli("logs", "merged", "--stderr")
    assert (ended.status, ended.raw) == (1, b"")
    assert "separate_stderr = true" in ended.err


def test_a_followed_log_has_times_while_the_task_runs(cli: CommandLine) -> None:
    one, two = cli.gate("one"), cli.gate("two")
    script = f"echo first; read x <{one}; echo wrong >&2; read x <{two}; echo last"
    cli("submit", cli.task("live", script, SEPARATE))
    with (
        cli.start("logs", "live", "-f", "--timestamps") as all_of_it,
        cli.start("logs", "live", "-f", "--stderr") as only_stderr,
        cli.start("run", "--until-empty") as worker,
    ):
        assert TIME.match(all_of_it.until("first", stream="stdout").encode())
        open_gate(one)
        assert TIME.match(all_of_it.until("wrong", stream="stdout").encode())
        assert only_stderr.until("wrong", stream="stdout") == "wrong"
        open_gate(two)
        assert [each.end() for each in (worker, all_of_it, only_stderr)] == [0, 0, 0]
    assert "\n".join([*all_of_it.lines, ""]) == cli("logs", "live", "-t").out
    assert only_stderr.lines == ["wrong"]


def test_times_come_from_the_store_when_the_folder_of_the_run_is_gone(cli: CommandLine) -> None:
    cli("run", "--task", cli.task("old", "echo kept; echo bad >&2", SEPARATE))
    before = cli("logs", "old", "-t"), cli("logs", "old", "--stderr")
    shutil.rmtree(cli.folder / "home" / "runs" / "old")
    for result, follow in zip((*before, *before), ([], [], ["-f"], ["-f"]), strict=True):
        arguments = ["--stderr"] if result is before[1] else ["-t"]
        assert cli("logs", "old", *arguments, *follow).raw == result.raw
    assert b"kept" in before[0].raw
    assert before[1].raw == b"bad\n"
    assert cli("artifacts", "old").out == ""


def remove(index: Path) -> None:
    index.unlink()


def overwrite(index: Path) -> None:
    index.write_bytes(bytes(100))


@pytest.mark.parametrize("damage", [remove, overwrite])
def test_a_log_without_its_index_is_shown_without_times(cli: CommandLine, damage: Callable[[Path], None]) -> None:
    cli("run", "--task", cli.task("lost", "echo one; echo two >&2", SEPARATE))
    damage(cli.run_log("lost", "log.index"))
    plain, timed, only = cli("logs", "lost"), cli("logs", "lost", "-t"), cli("logs", "lost", "--stderr")
    assert (plain.status, plain.err) == (0, "")
    assert timed.raw == b"".join(UNKNOWN + line for line in plain.raw.splitlines(keepends=True))
    assert timed.status == 0
    assert "this log has no index" in timed.err
    assert (only.status, only.raw) == (1, b"")
    assert "this log has no index" in only.err


def test_a_task_that_prints_nothing_has_no_index_and_its_log_says_so(cli: CommandLine) -> None:
    cli("run", "--task", cli.task("silent", "true"))
    assert sorted(path.name for path in cli.run_log("silent").parent.iterdir()) == ["journal.jsonl", "log"]
    assert "a log without output has none" in cli("logs", "silent", "-t").err
