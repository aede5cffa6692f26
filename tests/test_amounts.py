"""Amounts of resources, and bytes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from taskrunner.amounts import Amounts, Room, amounts_text, beyond, less
from taskrunner.byte_counts import MAX_BYTES, bytes_text, parse_bytes

GIB = 1 << 30
TOTAL = Amounts(memory=8 * GIB, cpus=4, named={"gpu": 2})


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0B", 0), ("1kB", 1000), ("1KiB", 1024), ("512MiB", 512 << 20), ("1.5GiB", 3 << 29), ("2 GB", 2 * 10**9),
        ("0.001TiB", 1099511627), ("512M", None), ("512", None), ("", None), ("MiB", None), ("-1MiB", None),
        ("1e3MiB", None), ("1,5GiB", None), ("1.5.5GiB", None), ("1  GiB", None), ("٣MiB", None), ("1mib", None),
    ],
)  # fmt: skip
def test_bytes_are_read(text: str, count: int | None) -> None:
    assert parse_bytes(text) == count


@example(MAX_BYTES - 1)
@given(some.integers(0, MAX_BYTES))
def test_bytes_are_written_as_they_are_read(count: int) -> None:
    read = parse_bytes(bytes_text(count))
    assert read is not None
    assert abs(read - count) <= count // 10


@pytest.mark.parametrize("text", ["0B", "17B", "4KiB", "1.5MiB", "512MiB", "64GiB", "2TiB"])
def test_round_numbers_come_back_as_they_were_written(text: str) -> None:
    assert bytes_text(parse_bytes(text) or 0) == text


def test_what_is_too_much() -> None:
    assert beyond({"memory": 9, "gpu": 1, "cpus": 5}, {"memory": 8, "gpu": 1}) == {"memory": 9}
    assert less({"memory": 8, "cpus": 0.3, "gpu": 1}, {"cpus": 0.1, "gpu": 2}) == {"memory": 8, "cpus": 0.2, "gpu": 0}
    assert amounts_text({"memory": GIB, "cpus": 0.2}) == "memory 1GiB, cpus 0.2"
    assert str(Amounts()) == "nothing"


def test_what_is_absent_is_filled() -> None:
    default = Amounts(memory=GIB, cpus=1, pids=9, named={"gpu": 1})
    assert Amounts().filled(default) == default
    assert Amounts(cpus=2, named={"tpu": 1}).filled(default) == Amounts(GIB, 2, 9, {"gpu": 1, "tpu": 1})


@pytest.mark.parametrize(
    ("asked", "free", "has"),
    [
        (Amounts(), {"memory": GIB, "cpus": 0, "gpu": 0}, True),
        (Amounts(), {"memory": GIB - 1, "cpus": 4, "gpu": 2}, False),
        (Amounts(named={"gpu": 1}), {"memory": GIB, "cpus": 0, "gpu": 0}, False),
        (Amounts(pids=10_000), {"memory": GIB, "cpus": 0, "gpu": 0}, True),
        (Amounts(cpus=5), {"memory": 0, "cpus": 0, "gpu": 0}, True),
        (Amounts(named={"tpu": 1}), {"memory": 0, "cpus": 0, "gpu": 0}, True),
    ],
    ids=["default fits", "default is too much", "name", "not counted", "never fits", "unknown name"],
)
def test_whether_there_is_room(asked: Amounts, free: dict[str, float], has: bool) -> None:
    assert Room(TOTAL, Amounts(memory=GIB), free).has(asked) == has


def test_what_never_fits_takes_no_room() -> None:
    room = Room(TOTAL, Amounts(), TOTAL.items)
    assert room.without(Amounts(cpus=5)) == room
    assert room.without(Amounts(cpus=3)).free == {"memory": 8 * GIB, "cpus": 1, "gpu": 2}
