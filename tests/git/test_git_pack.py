"""Packs that git makes, damaged packs, and hostile ones."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrunner.errors import TaskFailed
from taskrunner_git.failures import Broken
from taskrunner_git.packs.delta import apply_delta
from taskrunner_git.packs.index import Index, Place, SizedIndex, build, parse_record, record
from taskrunner_git.packs.indexing import PackScan, index_deltas
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack import Pack
from taskrunner_git.packs.sizes import load_sizes
from tests.support.githttp import git, make_repository


def index_pack(pack: Pack, objects: Objects, portion: int = 1 << 16) -> list[bytes]:
    """The records of a pack that arrives in portions of some bytes."""
    scan, data = PackScan(objects, lambda _: None), pack.path.read_bytes()
    for at in range(0, len(data), portion):
        scan.feed(data[at : at + portion])
    scan.finish()
    return index_deltas(pack, objects, scan, lambda _: None)[0]


def indexed(path: Path) -> dict[bytes, bytes]:
    """Every object of a pack by its id."""
    objects = Objects()
    pack = Pack(path)
    try:
        records = index_pack(pack, objects)
        index, sizes = build(records, bytes(20))
        objects.add(pack, SizedIndex(Index(index), sizes))
        return {sha: objects.read(sha)[1] for sha, _ in map(parse_record, records)}
    finally:
        pack.close()


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A small pack with deltas."""
    repository = tmp_path / "repository"
    text = "".join(f"line {n}\n" for n in range(200))
    make_repository(repository, {f"f{n}": text.replace(f"line {n}\n", f"changed {n}\n") for n in range(12)})
    git(repository, "repack", "-adfq")
    [pack] = (repository / ".git/objects/pack").glob("*.pack")
    return pack


def test_every_id_is_right(packed: Path) -> None:
    listed = git(packed.parent, "cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objectsize)").decode()
    assert {f"{sha.hex()} {len(data)}" for sha, data in indexed(packed).items()} == set(listed.splitlines())


def test_a_damaged_pack_is_broken(packed: Path, tmp_path: Path) -> None:
    data, chance = packed.read_bytes(), random.Random(1)  # noqa: S311  no secret
    whole = indexed(packed)
    broken = 0
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(data) - 20)] = chance.randrange(256)
        (tmp_path / "pack").write_bytes(damaged[: chance.choice([len(data), chance.randrange(len(data))])])
        try:
            assert indexed(tmp_path / "pack").keys() != set(whole) or damaged[:-20] == data[:-20]
        except (Broken, TaskFailed):  # the size of an object may be damaged
            broken += 1
    assert broken > 300


def pack_of(*objects: bytes) -> bytes:
    body = struct.pack(">4sII", b"PACK", 2, len(objects)) + b"".join(objects)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def head(kind: int, size: int) -> bytes:
    data = [kind << 4 | size & 15]
    size >>= 4
    while size:
        data[-1] |= 0x80
        data.append(size & 0x7F)
        size >>= 7
    return bytes(data)


@pytest.mark.parametrize(
    "hostile",
    [
        head(3, 10**12) + zlib.compress(b"x"),
        head(3, 1) + zlib.compress(bytes(10**7)),
        head(2, 10**12) + zlib.compress(b"x"),
        head(6, 10) + b"\x01" + zlib.compress(b"x" * 10),
        head(6, 10) + b"\xff\xff\xff\x7f" + zlib.compress(b"x" * 10),
        head(7, 10) + bytes(20) + zlib.compress(b"x" * 10),
        head(5, 0) + zlib.compress(b""),
        b"\xff" * 40,
    ],
)
def test_hostile_objects_are_refused(hostile: bytes, tmp_path: Path) -> None:
    (tmp_path / "pack").write_bytes(pack_of(hostile))
    with pytest.raises((Broken, TaskFailed)):
        indexed(tmp_path / "pack")


@pytest.mark.parametrize("portion", [1, 7, 64, 1000, 16_500])
def test_a_pack_may_arrive_in_portions_of_any_size(portion: int, tmp_path: Path) -> None:
    small = random.Random(1).randbytes(3000)  # noqa: S311  no secret
    large = random.Random(2).randbytes(50_000)  # noqa: S311
    stored = zlib.compressobj(0)
    objects = [
        head(3, len(small)) + zlib.compress(small),
        head(3, len(large)) + zlib.compress(large),
        head(3, 0) + zlib.compress(b""),
        head(3, 300)
        + b"".join(stored.compress(small[n : n + 1]) + stored.flush(zlib.Z_FULL_FLUSH) for n in range(300))
        + stored.flush(),
        head(3, 1) + zlib.compress(b"x"),
    ]
    (tmp_path / "pack").write_bytes(pack_of(*objects))
    pack = Pack(tmp_path / "pack")
    assert index_pack(pack, Objects(), portion) == index_pack(pack, Objects(), 1 << 20)
    pack.close()
    assert set(indexed(tmp_path / "pack").values()) == {small, large, b"", small[:300], b"x"}


def test_a_pack_that_ends_anywhere_is_broken() -> None:
    delta = head(7, 100_000) + bytes(20) + zlib.compress(random.Random(1).randbytes(100_000))  # noqa: S311  no secret
    data = pack_of(head(3, 3) + zlib.compress(b"abc"), delta)
    for end in [*range(80), len(data) - 21, len(data) - 1]:
        scan = PackScan(Objects(), lambda _: None)
        scan.feed(data[:end])
        with pytest.raises(Broken):
            scan.finish()


def test_deltas_of_deltas_thousands_deep_and_by_id_before_their_base(tmp_path: Path) -> None:
    objects, base = [], b"0"
    for number in range(3000):
        data = str(number + 1).encode()
        delta = bytes([len(base), len(data), len(data)]) + data
        sha = hashlib.sha1(b"blob %d\0%s" % (len(base), base), usedforsecurity=False).digest()
        objects.append(head(7, len(delta)) + sha + zlib.compress(delta))
        base = data
    objects.append(head(3, 1) + zlib.compress(b"0"))
    (tmp_path / "pack").write_bytes(pack_of(*objects))
    assert set(indexed(tmp_path / "pack").values()) == {str(number).encode() for number in range(3001)}


@pytest.mark.parametrize(
    "delta",
    [
        b"",
        b"\x04",
        b"\x03\x01\x01x",
        b"\x04\x01\x00",
        b"\x04\x05\x05abc",
        b"\x04\x01\x02ab",
        b"\x04\x02\x01a",
        b"\x04\x08\x91\x03\x08",
        b"\x04\xff\xff\xff\xff\x7f\x90\x04",
        b"\x04\x04\x91",
        b"\x04\x80\x80\x80\x80\x01\x01x",
        b"\xff" * 1_000_000 + b"\x01\x01x",
    ],
)
def test_a_hostile_delta_is_refused(delta: bytes) -> None:
    with pytest.raises(Broken):
        apply_delta(b"base", delta)


GOOD = b"\x04\x0c\x90\x04\x04more\x90\x04"
"""The base, an insertion, and the base again."""


@given(st.integers(0, len(GOOD)), st.integers(0, len(GOOD)), st.binary(max_size=8))
def test_a_delta_of_any_bytes_is_applied_or_broken(begin: int, end: int, bytes_between: bytes) -> None:
    delta = GOOD[:begin] + bytes_between + GOOD[end:]
    try:
        data = apply_delta(b"base", delta)
    except Broken:
        assert delta != GOOD
    else:
        assert set(data) <= set(b"base" + delta)


def test_a_delta_copies_and_inserts() -> None:
    assert apply_delta(b"0123456789", b"\x0a\x07\x91\x02\x03\x02ab\x91\x08\x02") == b"234ab89"


@given(st.sets(st.binary(min_size=20, max_size=20), max_size=300), st.binary(min_size=20, max_size=20))
def test_an_index_finds_its_objects_and_no_others(ids: set[bytes], other: bytes) -> None:
    places = {sha: Place(number << 27, number * 2, 3) for number, sha in enumerate(ids)}
    data, sizes = build(
        [record(sha, 0, place.offset, place.size, place.kind) for sha, place in places.items()], bytes(20)
    )
    index = SizedIndex(Index(data), sizes)
    assert {sha: index.find(sha) for sha in ids} == places, "with offsets below and above 2 GiB"
    assert (index.find(other) is not None) == (other in ids)


def test_an_index_equals_that_of_git(packed: Path) -> None:
    pack = Pack(packed)
    records = index_pack(pack, Objects())
    pack.close()
    assert build(records, packed.read_bytes()[-20:])[0] == packed.with_suffix(".idx").read_bytes()


@given(st.sets(st.binary(min_size=20, max_size=20), max_size=9), st.integers(0, 2000), st.integers(0, 255))
def test_a_damaged_index_is_refused(ids: set[bytes], at: int, byte: int) -> None:
    data, _ = build([record(sha, 0, 12, 0, 3) for sha in ids], bytes(20))
    damaged = bytearray(data)
    damaged[at % len(data)] = byte
    if damaged == data:
        assert Index(bytes(damaged)).count == len(ids)
    else:
        with pytest.raises(Broken):
            Index(bytes(damaged))
    with pytest.raises(Broken):
        Index(data[: at % len(data)])


@pytest.mark.parametrize("damage", [None, b"", b"junk", "cut", "flip", "other"])
def test_sizes_are_made_again(damage: bytes | str | None, packed: Path, tmp_path: Path) -> None:
    index, file, pack = Index(packed.with_suffix(".idx").read_bytes()), tmp_path / "x.sizes", Pack(packed)
    sizes = load_sizes(file, index, pack)
    whole = file.read_bytes()
    records = index_pack(pack, Objects())
    assert sizes == build(records, index.pack_id)[1]
    if damage is None:
        file.unlink()
    elif isinstance(damage, bytes):
        file.write_bytes(damage)
    else:
        file.write_bytes(
            {
                "cut": whole[:-1],
                "flip": whole[:30] + bytes([whole[30] ^ 1]) + whole[31:],
                "other": whole[:-20] + hashlib.sha1(whole[:-20], usedforsecurity=False).digest(),
            }[damage]
        )
    assert load_sizes(file, index, pack) == sizes
    assert file.read_bytes() == whole
    pack.close()
