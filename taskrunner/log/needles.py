"""Whether any of many byte strings is in a text, at a cost that does not grow with their number."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

GRAM = 8
"""Bytes of a gram: those of one machine word, so that a text is cut into grams without a step of Python for each."""

LONG = 2 * GRAM - 1
"""Bytes. Wherever a string of this length lies in a text, one gram of the text lies in it entirely."""

MANY = 25
"""So many searches by `in` take as long as looking up all grams of a text, some 5 ns for a byte."""


class Needles:
    """The byte strings. A text is cut into grams at multiples of `GRAM`, and each is looked up among the grams that the
    strings have at any place: a string is only searched for in a text that has one of them."""

    def __init__(self) -> None:
        self._short: list[bytes] = []
        self._long: list[bytes] = []
        self._grams: set[int] = set()

    def add(self, needles: Iterable[bytes]) -> None:
        for needle in needles:
            (self._long if len(needle) >= LONG else self._short).append(needle)
            self._grams.update(_grams(needle))

    def any_in(self, text: bytes) -> bool:
        return any(needle in text for needle in self._short) or (
            self._may_be_in(text) and any(needle in text for needle in self._long)
        )

    def _may_be_in(self, text: bytes) -> bool:
        whole = len(text) // GRAM * GRAM
        return len(self._long) < MANY or not self._grams.isdisjoint(memoryview(text)[:whole].cast("Q"))


def _grams(needle: bytes) -> Iterator[int]:
    """Of a long one: the first eight, which are at every place that a multiple of `GRAM` can have in it."""
    if len(needle) >= LONG:
        yield from (int.from_bytes(needle[at : at + GRAM], sys.byteorder) for at in range(GRAM))
