"""Pieces of a log, cut anywhere, as messages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner.interfaces.log import LogOrigin, LogStream
from taskrunner.queues.agent.log_messages import BEHIND, LogMessages
from taskrunner.queues.agent.messages import InvocationResponse, Level

AT = datetime(2026, 1, 1, tzinfo=UTC)
STDOUT = LogOrigin("stdout", AT)


def logs(made: Iterable[bytes]) -> list[Any]:
    return [InvocationResponse.FromString(message).log for message in made]


def texts(*pieces: bytes, origin: LogOrigin | None = STDOUT) -> list[str]:
    log = LogMessages()
    made = [message for piece in pieces for message in log.messages(piece, origin)]
    return [each.message for each in logs([*made, *log.rest()])]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"a\nb\n"], ["a\n", "b\n"]),
        ([b"a\n\n\nb"], ["a\n", "\n", "\n", "b"]),
        ([b"sure? "], ["sure? "]),
        ([b"sure? ", b"yes\n"], ["sure? ", "yes\n"]),
        ([b"10%\r20%\r\n"], ["10%\r20%\r\n"]),
        (["a\u2028b\x0bc\n".encode()], ["a\u2028b\x0bc\n"]),
        (["ü\n".encode()[:1], "ü\n".encode()[1:]], ["ü\n"]),
        (["ü".encode()[:1]], ["\ufffd"]),
        (["ü".encode()[:1], b"a\n"], ["\ufffda\n"]),
        ([b"\xff\x00\n"], ["\ufffd\x00\n"]),
        ([b""], []),
    ],
)
def test_a_line_is_a_message_with_its_newline(pieces: list[bytes], expected: list[str]) -> None:
    assert texts(*pieces) == expected


@pytest.mark.parametrize(
    ("stream", "level"),
    [("stdout", Level.INFO), ("both", Level.INFO), ("stderr", Level.ERROR), ("worker", Level.DEBUG)],
)
def test_the_level_is_that_of_the_stream(stream: LogStream, level: Level) -> None:
    [log] = logs(LogMessages().messages(b"a\n", LogOrigin(stream, AT)))
    assert (log.level, log.timestamp) == (level, AT.timestamp())


def test_a_line_of_the_worker_is_known_by_its_beginning_where_nothing_else_says_so() -> None:
    made = LogMessages().messages(b"[taskrunner] clone\nhello\n", None)
    assert [log.level for log in logs(made)] == [Level.DEBUG, Level.INFO]


def test_streams_that_alternate_within_a_character_do_not_mix() -> None:
    log, euro = LogMessages(), "€".encode()
    pieces = [(euro[:1], "stdout"), (b"!\n", "stderr"), (euro[1:], "stdout")]
    made = [m for piece, stream in pieces for m in log.messages(piece, LogOrigin(stream, AT))]  # type: ignore[arg-type]
    assert [log.message for log in logs(made)] == ["!\n", "€"]


def test_a_log_that_is_far_behind_has_messages_of_many_lines() -> None:
    piece = b"a line\n" * (BEHIND // 7 + 1)
    assert texts(piece, piece[:-3], b"line\n") == [piece.decode(), piece[:-3].decode(), "line\n"]
    cut = piece + "ü".encode()
    assert texts(cut[:-1], cut[-1:] + piece) == [piece.decode(), "ü" + piece.decode()]
    assert len(texts(piece[:BEHIND])) == BEHIND // 7 + 1


@settings(deadline=None)
@given(st.lists(st.text(alphabet="a\n€", max_size=40), max_size=20), st.integers(1, 7), st.booleans())
def test_no_character_is_lost_or_changed(lines: list[str], size: int, behind: bool) -> None:
    data = "".join(lines).encode() + (b"x" * (BEHIND * 4) if behind else b"")
    step = BEHIND * 2 if behind else size
    assert "".join(texts(*(data[i : i + step] for i in range(0, len(data), step)))).encode() == data
