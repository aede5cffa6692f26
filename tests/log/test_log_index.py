"""The index of a log says when each piece came and from which stream, or that it does not know; it is never wrong."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import get_args

import attrs
import pytest

from taskrunner.interfaces.log import LogStream, index_of
from taskrunner.log.index_writer import IndexWriter
from taskrunner.log.log_index import RECORD, STREAMS, LogIndex, Mark, encode, read_index
from taskrunner.log.spool import Spool
from taskrunner.model import COMPLETED, exception
from tests.support.killed import run_until_ready_and_kill

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
START = int(NOON.timestamp())
LOST = exception("worker-shutdown", "the worker died")


@attrs.define
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


def at(offset: int, stream: LogStream, milliseconds: int = 0) -> Mark:
    return Mark(offset, stream, START * 1000 + milliseconds)


def indexed(*marks: Mark) -> LogIndex:
    index = LogIndex()
    index.feed(b"".join(map(encode, marks)))
    return index


def parts(index: LogIndex, data: bytes, offset: int = 0) -> list[tuple[str, bytes]]:
    return [(mark.stream, part) for mark, part in index.split(data, offset)]


# ---- reading --------------------------------------------------------------------------------------------


def test_a_piece_is_split_at_the_marks_from_any_offset() -> None:
    index = indexed(at(2, "stdout"), at(5, "stderr"), at(9, "worker"))
    whole = [("", b"01"), ("stdout", b"234"), ("stderr", b"5678"), ("worker", b"9abc")]
    assert parts(index, b"0123456789abc") == whole
    for begin in range(13):
        for end in range(begin, 14):
            found = parts(index, b"0123456789abc"[begin:end], begin)
            assert b"".join(part for _, part in found) == b"0123456789abc"[begin:end]
            assert all(part in dict(whole)[stream] for stream, part in found)


def test_a_mark_has_a_time_unless_it_is_unknown() -> None:
    assert at(0, "stdout", 123).time == NOON.replace(microsecond=123_000)
    assert Mark(0).time is None


def test_every_stream_has_a_number_that_it_keeps() -> None:
    assert STREAMS == ("", "stdout", "stderr", "both", "worker")
    assert set(STREAMS) == {"", *get_args(LogStream)}


def test_an_index_is_read_however_it_is_cut() -> None:
    marks = [at(10 * number, "stderr", number) for number in range(20)]
    data, index = b"".join(map(encode, marks)), LogIndex()
    for byte in data:
        index.feed(bytes([byte]))
    assert list(index) == marks
    assert index.size == len(data)


def test_without_an_index_all_is_unknown(tmp_path: Path) -> None:
    index = read_index(tmp_path / "none")
    assert not index
    assert parts(index, b"text") == [("", b"text")]


def test_a_torn_record_is_left_out() -> None:
    index = LogIndex()
    index.feed(encode(at(0, "stdout")) + encode(at(7, "stderr"))[:-1])
    assert list(index) == [at(0, "stdout")]


@pytest.mark.parametrize(
    "record",
    [
        bytes(RECORD.size),  # what a power cut leaves
        b"\xff" * RECORD.size,
        b"\x02" + encode(at(5, "stderr"))[1:],  # a later version
        b"\x01\x63" + encode(at(5, "stderr"))[2:],  # a stream that is none
        encode(at(5, "stderr"))[:8] + b"\xff" * 8,  # a year that is none
    ],
)
def test_a_damaged_record_costs_its_own_time_only(record: bytes) -> None:
    index = LogIndex()
    index.feed(encode(at(0, "stdout")) + record + encode(at(7, "worker")))
    assert list(index) == [at(0, "stdout"), at(7, "worker")]


def test_of_two_records_about_one_place_the_newer_counts() -> None:
    marks = [at(0, "stdout"), at(5, "stderr"), at(9, "stdout"), at(20, "stderr")]
    assert list(indexed(*marks, at(5, "worker"))) == [at(0, "stdout"), at(5, "worker")]
    assert list(indexed(*marks, *marks[1:])) == marks
    assert list(indexed(*marks, at(7, "both"))) == [*marks[:2], at(7, "both")]


# ---- writing --------------------------------------------------------------------------------------------


def test_output_of_one_stream_in_the_same_tenth_of_a_second_shares_a_record(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "index"
    writer = IndexWriter(path, 1000, now=clock)
    for offset, stream, later in ((0, "stdout", 0), (5, "stdout", 0.09), (9, "stderr", 0.09), (12, "stdout", 0.09),
                                  (20, "stdout", 0.1), (30, "stdout", 0.19), (40, "stdout", 1.25)):  # fmt: skip
        clock.now = START + later
        writer.note(offset, stream)  # type: ignore[arg-type]
    known = [(0, "stdout", 0), (9, "stderr", 90), (12, "stdout", 90), (20, "stdout", 100), (40, "stdout", 1250)]
    assert [(mark.offset, mark.stream, round(mark.at - START * 1000, -1)) for mark in read_index(path)] == known
    assert path.stat().st_size == RECORD.size * len(known)


def test_a_record_is_on_disk_at_once(tmp_path: Path) -> None:
    writer = IndexWriter(tmp_path / "index", 1000, now=Clock())
    writer.note(0, "stdout")
    assert list(read_index(tmp_path / "index")) == [at(0, "stdout")]
    assert (tmp_path / "index").stat().st_mode & 0o777 == 0o600


def test_one_line_of_the_worker_is_no_reason_for_a_file_and_is_not_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    writer, silent = (IndexWriter(tmp_path / name, 1000, now=clock) for name in ("index", "silent"))
    for each in (writer, silent):
        each.note(0, "worker")
    silent.end(30)
    assert list(tmp_path.iterdir()) == []
    clock.now += 60
    writer.note(30, "both")
    writer.end(40)
    assert list(read_index(tmp_path / "index")) == [at(0, "worker"), at(30, "both", 60_000), at(40, "worker", 60_000)]


def test_after_the_last_record_of_a_full_index_all_is_unknown(tmp_path: Path) -> None:
    path, streams = tmp_path / "index", ("stdout", "stderr")
    writer = IndexWriter(path, 5 * RECORD.size, now=Clock())
    for number in range(1000):
        writer.note(number, streams[number % 2])  # type: ignore[arg-type]
    assert list(read_index(path)) == [*(at(n, streams[n % 2]) for n in range(4)), Mark(4)]  # type: ignore[arg-type]
    writer.end(1000)
    assert list(read_index(path))[-1] == at(1000, "worker")


def test_what_a_dead_worker_wrote_is_continued_after_its_last_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_bytes(encode(at(0, "stdout")) + encode(at(7, "stderr"))[:5])
    IndexWriter(path, 1000, existing=True, now=Clock()).end(9)
    assert list(read_index(path)) == [at(0, "stdout"), at(9, "worker")]
    IndexWriter(tmp_path / "none", 1000, existing=True).end(9)
    assert not (tmp_path / "none").exists()


def test_a_file_of_another_log_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_bytes(encode(at(1000, "stdout")))
    IndexWriter(path, 1000, now=Clock()).note(0, "stdout")
    assert list(read_index(path)) == [at(0, "stdout")]


def test_an_index_that_cannot_be_written_is_removed_and_nothing_is_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, path = Clock(), tmp_path / "index"
    writer = IndexWriter(path, 1000, now=clock)
    writer.note(0, "stdout")
    writer.close()
    path.unlink()
    path.symlink_to("elsewhere")
    writer.note(5, "stderr")
    assert not path.is_symlink()
    writer.note(9, "stdout")
    writer.end(12)
    assert list(tmp_path.iterdir()) == []
    assert caplog.text.count("the times of a log are lost") == 1


# ---- the index of a spool -------------------------------------------------------------------------------


def lines_of(path: Path) -> list[tuple[str, bytes]]:
    """The parts of a spool, each with its stream; neighbours of one stream are one part, whatever their times."""
    found = groupby(parts(read_index(index_of(path)), path.read_bytes()), key=itemgetter(0))
    return [(stream, b"".join(text for _, text in group)) for stream, group in found]


def assert_each_line_has_its_stream(path: Path, unknown: int = 0) -> None:
    """Lines `stdout 17 ...` and `stderr 18 ...`; `unknown` is the number of parts about which nothing is known."""
    found = lines_of(path)
    assert [stream for stream, _ in found].count("") == unknown
    for stream, text in found:
        for line in text.splitlines():
            mark = {"worker": b"[taskrunner]"}.get(stream, stream.encode())
            assert line.startswith(mark) or line == b"", (stream, line)


def alternate(spool: Spool, count: int, width: int) -> None:
    for number in range(count):
        stream: LogStream = "stderr" if number % 2 else "stdout"
        spool.write(f"{stream} {number} ".encode().ljust(width - 1, b".") + b"\n", stream)


def test_the_log_of_a_run_that_prints_nothing_is_one_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    spool.say("task hello/0 on worker w1")
    spool.finish(COMPLETED, 1.0)
    assert list(tmp_path.iterdir()) == [spool.path]


def test_bytes_that_can_be_read_have_their_mark(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    spool.say("begins")
    spool.write(b"out")
    assert lines_of(spool.path) == [("worker", b"[taskrunner] begins\n"), ("stdout", b"out")]
    spool.write(b"err\n", "stderr")
    assert lines_of(spool.path)[-1] == ("stderr", b"err\n")
    spool.finish(COMPLETED, 1.0)
    assert lines_of(spool.path)[-1] == ("worker", b"[taskrunner] completed after 1.0 s\n")


def test_offsets_are_those_of_masked_bytes(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    spool.mask("hunter2-secret")
    spool.write(b"it is hunter2-secret, and hunter2-")
    spool.write(b"hunter2-secret too\n", "stderr")
    spool.write(b"secret again, hunter2\n")
    spool.finish(COMPLETED, 1.0)
    assert lines_of(spool.path)[:3] == [
        ("stdout", b"it is ***, and "), ("stderr", b"*** too\n"), ("stdout", b"*** again, hunter2\n"),
    ]  # fmt: skip


def test_what_is_held_back_at_the_end_keeps_its_stream(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    spool.mask("hunter2-secret")
    spool.write(b"out hunter", "stdout")
    spool.write(b"err hunter2", "stderr")
    spool.finish(COMPLETED, 1.0)
    assert lines_of(spool.path)[:4] == [
        ("stdout", b"out "), ("stderr", b"err "), ("stdout", b"hunter"), ("stderr", b"hunter2"),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [400, 600, 1100, 1600, 5000])
def test_the_index_is_right_whatever_the_overflow_leaves_out(tmp_path: Path, count: int) -> None:
    spool = Spool(tmp_path / "log", head=100_000, tail=200_000)
    alternate(spool, count, 200)
    spool.finish(COMPLETED, 1.0)
    assert (b"left out here" in spool.path.read_bytes()) == (count >= 1600)
    assert_each_line_has_its_stream(spool.path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.index"]


def test_an_index_that_is_full_is_not_wrong_about_the_rest(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log", head=100_000, tail=200_000)
    alternate(spool, 50_000, 20)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.index")) < 300_000 / 8
    spool.finish(COMPLETED, 1.0)
    assert index_of(spool.path).stat().st_size < 300_000 / 8 + 10 * RECORD.size
    found = lines_of(spool.path)
    assert [stream for stream, _ in found].count("") == 3  # the ends of the head and of both segments
    for stream, text in found:
        assert not stream or stream == "worker" or text.strip(b"\n").startswith(stream.encode())
    assert found[-1] == ("worker", b"[taskrunner] completed after 1.0 s\n")


def test_without_an_index_the_log_is_whole(tmp_path: Path) -> None:
    index_of(tmp_path / "log").mkdir()
    spool = Spool(tmp_path / "log")
    alternate(spool, 4, 20)
    spool.finish(COMPLETED, 1.0)
    assert spool.path.read_bytes().count(b"\n") == 5


def test_the_index_survives_kill_9_in_head_and_overflow(tmp_path: Path) -> None:
    code = """
        import sys, pathlib
        from taskrunner.log.spool import Spool
        spool, number = Spool(pathlib.Path(sys.argv[1]), head=100_000, tail=200_000), 0
        while True:
            stream = "stderr" if number % 2 else "stdout"
            spool.write(f"{stream} {number} ".encode().ljust(199, b".") + b"\\n", stream)
            number += 1
            if number == 1600:
                print("ready", flush=True)
    """
    run_until_ready_and_kill(code, tmp_path / "log")
    Spool.reopen(tmp_path / "log", head=100_000, tail=200_000).finish(LOST, 1.0)
    assert_each_line_has_its_stream(tmp_path / "log")
    assert lines_of(tmp_path / "log")[-1][0] == "worker"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.index"]


@pytest.mark.parametrize("records", [0, 3, 1000])
def test_a_join_that_was_killed_in_the_middle_is_indexed_once(tmp_path: Path, records: int) -> None:
    for name in ("wanted", "crashed"):
        (tmp_path / name).mkdir()
    wanted, crashed = (Spool(tmp_path / name / "log", head=100_000, tail=200_000) for name in ("wanted", "crashed"))
    for spool in (wanted, crashed):
        alternate(spool, 1600, 200)
    before = index_of(wanted.path).stat().st_size
    wanted.finish(COMPLETED, 1.0)
    joined = index_of(wanted.path).read_bytes()[before:]
    with index_of(crashed.path).open("ab") as file:  # as the dead worker did
        file.write(joined[: records * RECORD.size])
    Spool.reopen(crashed.path, head=100_000, tail=200_000).finish(COMPLETED, 1.0)
    assert lines_of(crashed.path) == lines_of(wanted.path)
    assert_each_line_has_its_stream(crashed.path)


def test_bytes_lost_by_a_power_cut_move_no_mark(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    alternate(spool, 4, 20)
    os.truncate(spool.path, 30)
    Spool.reopen(spool.path).finish(LOST, 1.0)
    assert [stream for stream, _ in lines_of(spool.path)] == ["stdout", "stderr", "worker"]
    assert lines_of(spool.path)[1][1] == b"stderr 1 ."
