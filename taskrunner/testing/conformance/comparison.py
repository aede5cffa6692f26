"""Comparison of long values."""

from __future__ import annotations

import pytest

SHOWN = 60
"""Bytes of each value that a failure shows."""


def assert_same(seen: bytes, wanted: bytes) -> None:
    """Fails where they differ first. A bare `assert` would let pytest compare all lines of both with one another, which
    takes hours for a megabyte, and with CI set, pytest does not shorten that."""
    if seen == wanted:
        return
    at = _first_difference(seen, wanted)
    pytest.fail(
        f"{len(seen)} bytes instead of {len(wanted)}; from byte {at} they are {seen[at : at + SHOWN]!r} instead of "
        f"{wanted[at : at + SHOWN]!r}"
    )


def _first_difference(one: bytes, other: bytes) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
