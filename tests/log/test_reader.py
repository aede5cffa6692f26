"""A follower of a log gets every byte once, in order, and stops at its end."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from functools import partial
from pathlib import Path

import pytest

from taskrunner.blocking import run_blocking
from taskrunner.interfaces.results import READ_SIZE
from taskrunner.log.reader import follow, last_line, read
from taskrunner.log.spool import LONG, Spool
from taskrunner.model import COMPLETED

PATIENCE = 60.0


async def collect(path: Path, ended: threading.Event, offset: int = 0) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return b"".join([piece async for piece in follow(path, offset, ended=ended.is_set)])


def write_in_pieces(path: Path, ended: threading.Event, *, head: int) -> None:
    chance = random.Random(1)  # noqa: S311  no secret
    spool = Spool(path, head=head, tail=50_000)
    for number in range(20_000):
        spool.write(b"line %d of a log\n" % number if chance.random() < 0.9 else b"." * chance.randrange(300))
    spool.finish(COMPLETED, 1.0)
    ended.set()


@pytest.mark.parametrize("head", [1 << 20, 100_000])
def test_followers_from_any_offset_get_every_byte_once(tmp_path: Path, head: int) -> None:
    ended, path = threading.Event(), tmp_path / "log"
    offsets = [0, 1, 99_999, 100_050, 120_000, 10_000_000]

    async def scene() -> list[bytes]:
        async with asyncio.TaskGroup() as tasks:
            writing = partial(write_in_pieces, path, ended, head=head)
            tasks.create_task(run_blocking(writing, limit=PATIENCE, doing="writing"))
            following = [tasks.create_task(collect(path, ended, offset)) for offset in offsets]
        return [follower.result() for follower in following]

    received, whole = asyncio.run(scene()), path.read_bytes()
    assert whole.endswith(b"[taskrunner] completed after 1.0 s\n")
    assert (LONG.encode() in whole) == (head == 100_000)
    assert received == [whole[offset:] for offset in offsets]


def test_a_follower_is_live_and_waits_for_the_file(tmp_path: Path) -> None:
    ended, path = threading.Event(), tmp_path / "log"

    async def scene() -> bytes:
        following = follow(path, ended=ended.is_set)
        first = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)
        spool = Spool(path)
        spool.write(b"one\n")
        assert await asyncio.wait_for(first, PATIENCE) == b"one\n"
        spool.write(b"two\n")
        assert await asyncio.wait_for(anext(following), PATIENCE) == b"two\n"
        ended.set()
        return b"".join([piece async for piece in following])

    assert asyncio.run(scene()) == b""


def test_ended_may_be_a_coroutine_and_no_file_is_no_bytes(tmp_path: Path) -> None:
    async def ended() -> bool:
        await asyncio.sleep(0)
        return True

    async def scene() -> list[bytes]:
        return [piece async for piece in follow(tmp_path / "none", ended=ended)]

    assert asyncio.run(scene()) == []


def test_bytes_written_between_the_last_read_and_the_end_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n")

    def ended() -> bool:
        with path.open("ab") as file:
            file.write(b"two\n")
        return True

    async def scene() -> bytes:
        return b"".join([piece async for piece in follow(path, ended=ended)])

    assert asyncio.run(scene()) == b"one\ntwo\n"


@pytest.mark.parametrize("recent", [False, True])
def test_reading_stops_at_the_present_end(tmp_path: Path, recent: bool) -> None:
    path = tmp_path / "log"
    path.write_bytes(bytes(range(256)) * 4096)

    async def scene(offset: int) -> bytes:
        return b"".join([piece async for piece in read(path, offset, recent=recent)])

    assert asyncio.run(scene(1000)) == path.read_bytes()[1000:]
    assert asyncio.run(scene(1 << 30)) == b""


def test_what_is_on_the_disk_and_not_in_memory_is_read_as_well(tmp_path: Path) -> None:
    path, content = tmp_path / "log", random.Random(1).randbytes(3 * READ_SIZE + 1)  # noqa: S311  no secret
    path.write_bytes(content)
    with path.open("rb") as file:
        os.fsync(file)
        os.posix_fadvise(file.fileno(), READ_SIZE // 2, READ_SIZE, os.POSIX_FADV_DONTNEED)

    async def scene() -> list[bytes]:
        return [piece async for piece in read(path, recent=True)]

    pieces = asyncio.run(scene())
    assert [len(piece) for piece in pieces] == [READ_SIZE] * 3 + [1]
    assert b"".join(pieces) == content


def test_a_log_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    async def scene() -> None:
        async for _ in read(tmp_path, recent=True):
            pass

    with pytest.raises(IsADirectoryError):
        asyncio.run(scene())


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        (b"", ""),
        (b"one\ntwo\n", "two"),
        (b"one\ntwo\n\n \r\n", "two"),
        (b"10%\r20%\r30%\r", "30%"),
        (b"\x1b[1;31mred\x1b[0m and \x1b]0;a title\x07plain\n", "red and plain"),
        (b"tab\there\x07\x00", "tab here"),
        ("evil \u202egnp.exe\u2028x".encode(), "evil  gnp.exe x"),
        (b"\xff\xfe text", "�� text"),
        (b"x" * 9000, "x" * 200),
        (b"unfinished \x1b[3", "unfinished"),
    ],
)
def test_the_last_line_is_short_plain_text(tmp_path: Path, log: bytes, shown: str) -> None:
    (tmp_path / "log").write_bytes(log)
    assert last_line(tmp_path / "log") == shown


def test_the_last_line_of_no_log_is_empty(tmp_path: Path) -> None:
    assert last_line(tmp_path / "none") == ""
    assert last_line(tmp_path) == ""
