"""Reading the tar stream of a container: in parts, ahead of its reader, and to its end. Docker is a socket here."""

from __future__ import annotations

import asyncio
import io
import itertools
import socket
import tarfile
import threading
from contextlib import suppress

import pytest

from taskrunner_docker.api.exchange import Exchange
from taskrunner_docker.api.tar import TarStream
from taskrunner_docker.container.read_ahead import STEPS, ReadAhead
from taskrunner_docker.container.tar_end import TarEnd
from taskrunner_docker.container.tar_parts import BATCH, PIECE, Part, TarMember, TarParts

BLOCK = tarfile.BLOCKSIZE
LARGE = 9 << 30
"""Bytes of a file whose size has too many digits for a header."""
CONTENTS = {"./a": b"a" * 100, "./empty": b"", "./large": b"l" * (5 * PIECE // 2), "./z": b"z" * BLOCK}
FORMATS = [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]


class Daemon:
    """The other end of a socket: answers one request with these bytes, and closes the connection."""

    def __init__(self, body: bytes) -> None:
        self.body, self.request = body, b""
        self.here, self._there = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Exchange:
        self._thread.start()
        return Exchange.begin(self.here, "GET", "/archive", chunked=False)

    def __exit__(self, *_: object) -> None:
        self.here.close()
        self._thread.join(60)

    def _serve(self) -> None:
        with self._there:
            while not self.request.endswith(b"\r\n\r\n"):
                self.request += self._there.recv(1 << 16)
            with suppress(OSError):  # the reader has closed it
                self._there.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + self.body)


def tar_of(contents: dict[str, bytes], **more: object) -> bytes:
    """A tar as Docker makes it, with a folder and a link."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", **more) as tar:  # type: ignore[call-overload]
        tar.addfile(member("./", type=tarfile.DIRTYPE))
        for name, data in contents.items():
            tar.addfile(member(name, size=len(data)), io.BytesIO(data))
        tar.addfile(member("./link", type=tarfile.SYMTYPE, linkname="a"))
    return made.getvalue()


def member(name: str, **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in more.items():
        setattr(info, field, value)
    return info


def read_parts(body: bytes) -> tuple[list[Part], Exception | None]:
    """What is read of a stream until its end, or until an error."""
    parts = list[Part]()
    daemon = Daemon(body)
    try:
        with daemon as answer, TarStream.of(answer) as stream:
            reader = TarParts(stream)
            while batch := reader.batch():
                parts += batch
            assert reader.batch() == [], "the end stays the end"
    except tarfile.TarError as error:
        return parts, error
    assert daemon.request.startswith(b"GET /archive HTTP/1.0\r\n"), "chunks take Docker half of the time"
    return parts, None


def joined(parts: list[Part]) -> dict[str, bytes]:
    found, name = dict[str, bytes](), ""
    for part in parts:
        if isinstance(part, TarMember):
            name = part.info.name
        found[name] = found.get(name, b"") + (part if isinstance(part, bytes) else part.begin)
    return found


def test_each_member_comes_with_its_contents_in_pieces() -> None:
    parts, error = read_parts(tar_of(CONTENTS))
    assert error is None
    assert joined(parts) == {".": b""} | CONTENTS | {"./link": b""}
    assert max(len(part if isinstance(part, bytes) else part.begin) for part in parts) == PIECE


def test_small_files_come_together() -> None:
    count = 2 * BATCH // 1000
    tar = tar_of({f"./{number}": b"x" * 1000 for number in range(count)})
    with Daemon(tar) as answer, TarStream.of(answer) as stream:
        first = TarParts(stream).batch()
    assert count // 5 < len(first) < count // 2 + 2


def test_a_file_that_nobody_reads_is_passed_over() -> None:
    with Daemon(tar_of(CONTENTS)) as answer, TarStream.of(answer) as stream:
        assert [info.name for info in stream] == [".", *CONTENTS, "./link"]


@pytest.mark.parametrize(
    ("cut", "after", "left"),
    [
        (b"./z", b"", ["./large"]),
        (b"./z", b"./z", ["./large"]),
        (b"./z", b'{"message":"unexpected EOF"}\n', ["./large"]),
        (b"lll", b"lllll", ["./empty"]),
        (b"zzz", b"z", ["./large"]),
    ],
    ids=["before a header", "in a header", "Docker's error in place of a header", "in a file", "in the last file"],
)
def test_a_stream_that_is_cut_is_an_error_after_what_came_before(cut: bytes, after: bytes, left: list[str]) -> None:
    whole = tar_of(CONTENTS)
    parts, error = read_parts(whole[: whole.index(cut)] + after)
    assert isinstance(error, tarfile.ReadError)
    names = [part.info.name for part in parts if isinstance(part, TarMember)]
    assert names[-1:] == left


def test_an_error_is_raised_by_each_call_from_then_on() -> None:
    with Daemon(tar_of(CONTENTS)[: 3 * BLOCK]) as answer, TarStream.of(answer) as stream:
        reader = TarParts(stream)
        assert reader.batch()
        for _ in range(2):
            with pytest.raises(tarfile.ReadError):
                reader.batch()


# ---- the end of a tar that passes ------------------------------------------------------------------------------


def is_whole(body: bytes, piece: int) -> bool:
    end = TarEnd()
    try:
        for begin in range(0, len(body), piece):
            end.feed(body[begin : begin + piece])
        end.check()
    except tarfile.ReadError:
        return False
    return True


def odd_tar(form: int) -> bytes:
    """Long names, records, a record that looks like one of a size, zeros in a file, a hard link."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        tar.addfile(member("n" * 300, size=5), io.BytesIO(b"12345"))
        tar.addfile(member("l", type=tarfile.SYMTYPE, linkname="t" * 300))
        tar.addfile(member("zeros", size=3 * BLOCK), io.BytesIO(bytes(3 * BLOCK)))
        tar.addfile(member("x", size=1, pax_headers={"SCHILY.xattr.user.x": "\n17 size=1048576\n"}), io.BytesIO(b"1"))
        tar.addfile(member("hard", type=tarfile.LNKTYPE, linkname="x", size=0))
    return made.getvalue()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("piece", [1, 100, BLOCK, PIECE])
def test_a_whole_tar_has_its_end(form: int, piece: int) -> None:
    assert is_whole(odd_tar(form), piece)


@pytest.mark.parametrize("form", FORMATS)
def test_a_tar_that_is_cut_anywhere_has_no_end(form: int) -> None:
    whole = odd_tar(form)
    end = len(whole.rstrip(b"\0"))
    end += -end % BLOCK
    for length in range(0, end + BLOCK, BLOCK // 2):
        assert not is_whole(whole[:length], PIECE), f"cut at {length}"
    assert is_whole(whole[: end + BLOCK], PIECE)


@pytest.mark.parametrize("form", FORMATS)
def test_zeros_in_a_file_that_is_larger_than_a_header_can_say_are_no_end(form: int) -> None:
    end, zeros = TarEnd(), bytes(1 << 24)
    end.feed(member("large", size=LARGE).tobuf(form))
    for _ in range(LARGE // len(zeros)):
        end.feed(zeros)
        with pytest.raises(tarfile.ReadError):
            end.check()
    end.feed(bytes(2 * BLOCK))
    end.check()


@pytest.mark.parametrize("wrong", [b'{"message":"unexpected EOF"}\n', b"\1" * BLOCK])
def test_what_is_no_header_is_no_tar(wrong: bytes) -> None:
    whole = tar_of({"./a": b"a"})
    assert not is_whole(whole[: 3 * BLOCK] + wrong, PIECE)


@pytest.mark.parametrize("records", [b"no record", b"x size=1\n", b"0 a=b\n", b"12 size=many\n"])
def test_records_that_are_none_end_the_reading(records: bytes) -> None:
    header = member("./PaxHeaders", type=tarfile.XHDTYPE, size=len(records)).tobuf(tarfile.USTAR_FORMAT)
    assert not is_whole(header + records + bytes(-len(records) % BLOCK) + tar_of({}), PIECE)


# ---- reading ahead ---------------------------------------------------------------------------------------------


def test_steps_come_in_their_order_and_only_some_are_ahead() -> None:
    begun = itertools.count()
    latest = -1

    async def step() -> int:
        nonlocal latest
        latest = next(begun)
        return latest

    async def read() -> None:
        ahead = ReadAhead(step)
        for number in range(3 * STEPS):
            assert await ahead.next() == number
            assert latest < number + STEPS
        await ahead.end()

    asyncio.run(read())


def test_an_error_comes_in_its_turn() -> None:
    numbers = itertools.count()

    async def step() -> int:
        if (number := next(numbers)) == 2:
            raise tarfile.ReadError("cut")
        return number

    async def read() -> None:
        ahead = ReadAhead(step)
        assert [await ahead.next(), await ahead.next()] == [0, 1]
        with pytest.raises(tarfile.ReadError):
            await ahead.next()
        await ahead.end()

    asyncio.run(read())


def test_what_is_read_ahead_ends_with_its_reader() -> None:
    ended = list[int]()
    numbers = itertools.count()

    async def step() -> int:
        number = next(numbers)
        try:
            if number:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(number)
            raise
        return number

    async def read() -> None:
        ahead = ReadAhead(step)
        assert await ahead.next() == 0
        await ahead.end()
        await ahead.end()

    asyncio.run(read())
    assert ended == list(range(1, STEPS))
