"""The files of outputs and variables, as scripts write them and as attackers do."""

from __future__ import annotations

import pytest

from taskrunner.limits import MAX_STEP_FILE
from taskrunner.steps.assignments import AssignmentError, parse_assignments


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", {}),
        (b"\n \n", {}),
        (b"A=1\n", {"A": "1"}),
        (b"A=1", {"A": "1"}),
        (b"A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        (b"A=\n", {"A": ""}),
        (b"A=b=c << d\n", {"A": "b=c << d"}),
        (b"A= spaces stay \n", {"A": " spaces stay "}),
        (b"A=1\nA=2\n", {"A": "2"}),
        ("A=ä€".encode(), {"A": "ä€"}),
        (b"A<<EOF\none\ntwo\nEOF\nB=2\n", {"A": "one\ntwo", "B": "2"}),
        (b"A<<EOF\nEOF\n", {"A": ""}),
        (b"A<<EOF\r\none\r\nEOF\r\n", {"A": "one"}),
        (b"A<<EOF\nB=1\n EOF\n\nEOF", {"A": "B=1\n EOF\n"}),
        (b"A<<x=y\n1\nx=y\n", {"A": "1"}),
        (b"A<<EOF\n$(id) `id` ${X}\nEOF\n", {"A": "$(id) `id` ${X}"}),
        (b"A=" + b"x" * (MAX_STEP_FILE - 2), {"A": "x" * (MAX_STEP_FILE - 2)}),
    ],
)
def test_what_is_read(text: bytes, found: dict[str, str]) -> None:
    assert parse_assignments(text) == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"A=1\nnonsense\n", "line 2: write NAME=value"),
        (b"=1", "line 1: a name has letters"),
        (b"1A=1", "line 1: a name has letters"),
        (b"A B=1", "line 1: a name has letters"),
        (b"A-B=1", "line 1: a name has letters"),
        (b" A=1", "line 1: a name has letters"),
        (b"export A=1", "line 1: a name has letters"),
        ("Ä=1".encode(), "line 1: a name has letters"),
        (b"A<<\nx\n\n", "line 1: name the line that ends the value"),
        (b"B=1\nA<<EOF\nx\n EOF\n", "line 2: the line that ends this value is missing"),
        (b"A=1\0", "has a zero byte"),
        (b"A=\xff", "is not UTF-8"),
        (b"A=" + b"x" * (MAX_STEP_FILE - 1), "has more than 64 KiB"),
    ],
)
def test_what_is_refused(text: bytes, problem: str) -> None:
    with pytest.raises(AssignmentError, match=problem):
        parse_assignments(text)


def test_a_complaint_shows_nothing_of_the_file() -> None:
    with pytest.raises(AssignmentError) as caught:
        parse_assignments(b"my password\n")
    assert "password" not in str(caught.value)
