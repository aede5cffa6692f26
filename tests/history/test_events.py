"""The places of events, and characters that a read has cut."""

from __future__ import annotations

import pytest

from taskrunner.history.events import EventPlace, partial_character


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "1.2.3.4", "-1.2.3", "1.2.x", "1.2.٣", " 1.2.3", "1.2.3\n", "9" * 19 + ".0.0"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no place"):
        EventPlace.parse(text)


def test_a_place_is_read_as_it_is_written() -> None:
    assert EventPlace.parse(str(EventPlace(3, 4, 5))) == EventPlace(3, 4, 5)


@pytest.mark.parametrize("character", ["a", "é", "€", "𝄞"])
def test_a_character_is_whole_or_waits(character: str) -> None:
    data = character.encode()
    assert [partial_character(b"x" + data[:length]) for length in range(len(data) + 1)] == [*range(len(data)), 0]


def test_bytes_that_are_no_text_wait_for_nothing() -> None:
    assert [partial_character(data) for data in (b"", b"\x80\x80\x80\x80", b"\xc3\xa9\x80")] == [0, 0, 0]
