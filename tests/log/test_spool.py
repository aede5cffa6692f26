"""The spool keeps the output of a run, whatever happens, and always ends with how the run ended."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from taskrunner.errors import TaskFailedInternally
from taskrunner.log.spool import LONG, Spool, is_finished
from taskrunner.model import COMPLETED, Resolution, exception, failed
from tests.support.killed import run_until_ready_and_kill

TRAILER = b"[taskrunner] completed after 1.0 s\n"
LOST = exception("worker-shutdown", "the worker died")


def finished(spool: Spool, resolution: Resolution = COMPLETED) -> bytes:
    spool.finish(resolution, 1.0)
    return spool.path.read_bytes()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_all(spool: Spool, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        spool.write(piece)


def test_bytes_are_kept_as_they_are_and_followed_by_the_trailer(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    spool.write(b"\xff\x00 one\r")
    spool.write(b"two\n")
    assert spool.path.read_bytes() == b"\xff\x00 one\rtwo\n"
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600
    assert finished(spool) == b"\xff\x00 one\rtwo\n" + TRAILER
    assert names(tmp_path) == ["log", "log.index"]


def test_the_trailer_says_how_and_why_the_run_ended_and_how_long_it_took(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    spool.finish(failed("exit-code", "the command ended with exit code 3\nlook above"), 1234.56)
    text = (
        "[taskrunner] failed (exit-code) after 1,234.6 s: the command ended with exit code 3\n[taskrunner] look above\n"
    )
    assert spool.path.read_text() == text


def test_lines_of_the_worker_begin_on_a_line_of_their_own(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    spool.say("first\nsecond")
    spool.write(b"no end of line")
    spool.say("third")
    spool.write(b"rest")
    lines = b"[taskrunner] first\n[taskrunner] second\nno end of line\n[taskrunner] third\nrest\n"
    assert finished(spool) == lines + TRAILER


def test_writes_after_the_end_are_ignored(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    whole = finished(spool)
    spool.write(b"late")
    spool.say("late")
    spool.mask("abc")
    assert finished(spool, LOST) == whole


def test_secrets_are_masked_in_output_and_worker_lines_and_when_lines_cut_them(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    spool.mask("hunter2-secret")
    spool.write(b"it is hunter2-")
    spool.say("pulling with hunter2-secret")
    spool.write(b"secret, and held: hunter2")
    assert spool.hide("x hunter2-secret") == "x ***"
    whole = finished(spool, failed("x", "hunter2-secret"))
    assert whole == (
        b"it is \n[taskrunner] pulling with ***\n***, and held: hunter2\n[taskrunner] failed (x) after 1.0 s: ***\n"
    )


def test_the_log_says_that_a_short_secret_is_not_hidden(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    spool.mask("abc")
    spool.mask("")
    assert finished(spool).count(b"cannot be hidden in this log") == 1
    assert b"abc" not in spool.path.read_bytes()


def test_a_long_log_keeps_head_and_tail_and_says_what_is_missing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log", head=1000, tail=2000)
    output = b"".join(b"line %d\n" % number for number in range(10_000))
    for begin in range(0, len(output), 777):
        spool.write(output[begin : begin + 777])
        assert sum(path.stat().st_size for path in tmp_path.glob("log*")) < 1000 + 2000 + 200 + 8192
    before = spool.path.read_bytes()
    assert spool.last_line == "line 9999"
    whole = finished(spool)
    assert whole.startswith(before)
    assert before.startswith(output[:1000])
    assert LONG.encode() in before
    said, _, rest = whole[len(before) :].partition(b"\n")
    kept = rest.removesuffix(TRAILER)
    assert output.endswith(b"\n" + kept)
    assert 1000 - len("line 9999\n") < len(kept) <= 2000
    left_out = int(said.split()[1].replace(b",", b""))
    assert 0 <= len(output) - 1000 - len(kept) - left_out <= len("line 9999\n")
    assert names(tmp_path) == ["log", "log.index"]


def test_a_log_whose_overflow_lost_nothing_is_whole(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log", head=100, tail=200)
    spool.write(b"a" * 90)
    spool.write(b"b" * 150)
    whole = finished(spool)
    said = f"\n[taskrunner] {LONG}\n".encode()
    assert whole == b"a" * 90 + b"b" * 10 + said + b"b" * 140 + b"\n" + TRAILER


def test_a_line_without_end_is_bounded_too(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log", head=1 << 20, tail=1 << 20)
    for _ in range(64):
        spool.write(b"\r" + b"=" * (1 << 17))
    assert len(finished(spool)) < (2 << 20) + 1000


def test_lines_of_several_threads_stay_whole(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log")
    lines = [f"{name} {number} {name * 50}" for name in "abcd" for number in range(200)]

    def write(name: str) -> None:
        for line in lines:
            if line[0] == name:
                spool.say(line)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(finished(spool).decode().splitlines()[:-1]) == sorted(f"[taskrunner] {line}" for line in lines)


def test_a_full_disk_raises_once_and_the_trailer_is_there(small_disk: Path) -> None:
    spool = Spool(small_disk / "log")
    (small_disk / "other").write_bytes(bytes(40 << 10))
    with pytest.raises(TaskFailedInternally, match="No space left on device"):
        write_all(spool, [b"x" * 4000] * 10)
    spool.write(b"y" * 5000)
    spool.say("more")
    whole = finished(spool, exception("internal-error", "the disk is full"))
    assert whole.startswith(b"x" * 4000)
    assert b"bytes are missing here: No space left on device" in whole
    assert whole.endswith(b"[taskrunner] exception (internal-error) after 1.0 s: the disk is full\n")


def test_a_long_log_on_a_full_disk_still_has_its_trailer(small_disk: Path) -> None:
    spool = Spool(small_disk / "log", head=10_000, tail=40_000)
    (small_disk / "other").write_bytes(bytes(12 << 10))
    with pytest.raises(TaskFailedInternally):
        write_all(spool, (b"line %d\n" % number for number in range(5000)))
    whole = finished(spool)
    assert b"missing here: No space left on device" in whole
    assert whole.count(b"\n[taskrunner] ") == whole.count(b"[taskrunner] ") >= 3
    assert whole.endswith(TRAILER)
    assert names(small_disk) == ["log", "log.index", "other"]


def test_a_short_log_on_a_disk_without_a_free_byte_has_its_trailer(small_disk: Path) -> None:
    spool = Spool(small_disk / "log")
    spool.say("hello")
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "other").write_bytes(bytes(1 << 20))
    with pytest.raises(TaskFailedInternally, match="No space left"):
        spool.write(b"x" * 4000)
    assert finished(spool).endswith(TRAILER)
    assert names(small_disk) == ["log", "other"]


def test_only_a_spool_that_has_its_trailer_is_finished(tmp_path: Path) -> None:
    assert not is_finished(tmp_path / "log")
    spool = Spool(tmp_path / "log")
    spool.write(TRAILER)  # any task can print it
    assert not is_finished(spool.path)
    finished(spool)
    assert is_finished(spool.path)


def test_a_disk_that_is_full_from_the_start_raises(small_disk: Path) -> None:
    (small_disk / "other").write_bytes(bytes(64 << 10))
    spool = Spool(small_disk / "log")
    with pytest.raises(TaskFailedInternally):
        spool.say("hello")
    spool.finish(COMPLETED, 1.0)
    assert spool.last_line == ""


def test_a_spool_is_never_made_over_a_file_nor_through_a_link(tmp_path: Path) -> None:
    finished(Spool(tmp_path / "log"))
    (tmp_path / "link").symlink_to("log")
    for name in ("log", "link"):
        with pytest.raises(TaskFailedInternally):
            Spool(tmp_path / name)
    for name in ("none", "link"):
        with pytest.raises(TaskFailedInternally):
            Spool.reopen(tmp_path / name)


def test_written_bytes_survive_kill_9_and_get_a_trailer(tmp_path: Path) -> None:
    code = """
        import sys, pathlib
        from taskrunner.log.spool import Spool
        spool = Spool(pathlib.Path(sys.argv[1]))
        spool.write(b"half a line")
        print("ready", flush=True)
        while True:
            spool.write(b".")
    """
    run_until_ready_and_kill(code, tmp_path / "log")
    written = (tmp_path / "log").read_bytes()
    spool = Spool.reopen(tmp_path / "log")
    whole = finished(spool, LOST)
    ending = b"\n[taskrunner] exception (worker-shutdown) after 1.0 s: the worker died\n"
    assert written.startswith(b"half a line")
    assert whole == written + ending
    assert names(tmp_path) == ["log", "log.index"]


def test_head_and_tail_of_a_long_log_survive_kill_9(tmp_path: Path) -> None:
    code = """
        import sys, pathlib
        from taskrunner.log.spool import Spool
        spool = Spool(pathlib.Path(sys.argv[1]), head=1000, tail=2000)
        for number in range(2000):
            spool.write(b"line %d\\n" % number)
        print("ready", flush=True)
        while True:
            number += 1
            spool.write(b"line %d\\n" % number)
    """
    run_until_ready_and_kill(code, tmp_path / "log")
    spool = Spool.reopen(tmp_path / "log", head=1000, tail=2000)
    whole = finished(spool, LOST)
    head, _, tail = whole.partition(b"bytes left out here: the log is too long\n")
    assert head.startswith(b"line 0\nline 1\n")
    numbers = [int(line.split()[1]) for line in tail.splitlines()[:-1]]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[-1] >= 1999
    assert names(tmp_path) == ["log", "log.index"]


@pytest.mark.parametrize("joined", [0, 40, 100_000])
def test_a_join_that_was_killed_in_the_middle_is_repeated(tmp_path: Path, joined: int) -> None:
    wanted, crashed = (Spool(tmp_path / name / "log", head=100, tail=200) for name in _folders(tmp_path, "a", "b"))
    for spool in (wanted, crashed):
        spool.write(b"".join(b"line %d\n" % number for number in range(100)))
    before, whole = wanted.path.read_bytes(), finished(wanted)
    with crashed.path.open("ab") as file:  # as the dead worker did
        file.write(whole[len(before) :].removesuffix(TRAILER)[:joined])
    assert finished(Spool.reopen(crashed.path, head=100, tail=200)) == whole


def test_a_join_that_was_killed_at_its_end_is_not_repeated(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "log", head=100, tail=200)
    spool.write(b"".join(b"line %d\n" % number for number in range(100)))
    newest = max(tmp_path.glob("log.tail-*[0-9]"), key=lambda path: int(path.name.split("-")[-1]))
    kept = newest.read_bytes()
    whole = finished(spool)
    newest.write_bytes(kept)  # the older one was removed, then the worker died
    spool.path.write_bytes(whole.removesuffix(TRAILER))
    assert finished(Spool.reopen(spool.path, head=100, tail=200)) == whole


def _folders(parent: Path, *names: str) -> list[str]:
    for name in names:
        (parent / name).mkdir()
    return list(names)
