"""Whatever bytes an archive has: one of our own errors or a tree that stays inside, in bounded time and space."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskrunner.connections import Connections
from taskrunner.errors import TaskFailed
from taskrunner.files.archives.bounds import Bounds
from taskrunner.files.unpack import unpack
from tests.support.archives import (
    COMPRESS,
    END,
    entry,
    folder,
    hard_link,
    link,
    pax,
    raw_zip,
    raw_zip64,
    tar,
    zip_info,
    zipped,
)

TIGHT = Bounds(members=60, bytes=1 << 20, ratio=10, harmless_bytes=1 << 18, link_steps=1000)
ROUNDS = settings(max_examples=300, deadline=10_000)
"""Ten seconds for an example are a hang: with these bounds there is nothing to do that takes longer."""
TAR = tar(
    pax({"comment": "a commit"}, b"g"),
    folder("top"),
    entry("top/file", b"content" * 100),
    pax({"path": "top/long" * 20, "mtime": "5.5"}),
    entry("x", b"1"),
    entry("././@LongLink", b"top/other\0", kind=b"L"),
    entry("y", mode=0o755),
    link("top/link", "file"),
    hard_link("top/hard", "top/file"),
)
ZIP = zipped(("top/file", b"content" * 100), (zip_info("top/link", 0o120777), b"file"), ("top/sub/", b""))
SEEDS = [
    TAR,
    *(compress(TAR) for name, compress in COMPRESS.items() if name),
    ZIP,
    raw_zip({"name": b"a"}, {"name": b"b"}, comment=b"comment"),
    raw_zip64({"name": b"a"}),
]
NAMES = st.sampled_from(
    [
        "a",
        "b",
        "a/b",
        "a/b/c",
        "../a",
        "a/..",
        "a/../..",
        "/a",
        ".",
        "./a",
        "a/",
        "A",
        "..",
        "b/a",
        "c/../../d",
        "a\nb",
        "",
    ]
)


@contextmanager
def fresh() -> Iterator[Path]:
    """A folder in another one that holds nothing else."""
    outer = Path(tempfile.mkdtemp(prefix="taskrunner-fuzz-"))
    try:
        (outer / "target").mkdir()
        yield outer / "target"
    finally:
        shutil.rmtree(outer)


def check(archive: bytes) -> bool:
    """Whether it was unpacked. Fails when anything but our refusal happens, or anything lies outside."""
    with fresh() as target:
        source = target.parent / "archive"
        source.write_bytes(archive)
        done = False
        with source.open("rb") as file, suppress(TaskFailed):
            unpack(file, target, Connections(), bounds=TIGHT)
            done = True
        assert sorted(path.name for path in target.parent.iterdir()) == ["archive", "target"]
        found = [Path(top) / name for top, folders, files in os.walk(target) for name in folders + files]
        assert all(path.is_symlink() or path.is_dir() or path.is_file() for path in found)
        assert [path for path in found if leaves(path, target)] == []
        assert sum(path.lstat().st_size for path in found if path.is_file() and not path.is_symlink()) <= TIGHT.bytes
        return done


def leaves(path: Path, folder: Path) -> bool:
    """Whether the system follows a path out of a folder. A circle of links leads nowhere; `realpath` invents an end."""
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
    return not Path(os.path.realpath(path)).is_relative_to(folder)


def test_the_seeds_are_good() -> None:
    assert all(check(seed) for seed in SEEDS)


@ROUNDS
@given(st.binary(max_size=3000))
def test_random_bytes(data: bytes) -> None:
    check(data)


@ROUNDS
@given(
    st.sampled_from([b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PK\3\4", b"PK\5\6"]), st.binary()
)
def test_random_bytes_that_begin_well(beginning: bytes, data: bytes) -> None:
    check(beginning + data)


@ROUNDS
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=12)), max_size=6),
    st.floats(0, 1),
)
def test_mutated_archives(seed: bytes, changes: list[tuple[float, bytes]], cut: float) -> None:
    data = bytearray(seed)
    for place, piece in changes:
        at = int(place * len(data))
        data[at : at + len(piece)] = piece
    check(bytes(data[: int(cut * len(data))]) if cut < 0.3 else bytes(data))


@ROUNDS
@given(
    st.lists(
        st.tuples(st.sampled_from(["name", "size", "type", "link", "mtime", "mode"]), st.binary(max_size=12)),
        max_size=4,
    )
)
def test_headers_with_a_right_checksum_and_anything_else(fields: list[tuple[str, bytes]]) -> None:
    from tests.support.archives import raw_header

    check(tar(entry("first"), raw_header(**dict(fields)), entry("last")))


MEMBERS = st.one_of(
    st.builds(entry, NAMES, st.binary(max_size=20)),
    st.builds(folder, NAMES),
    st.builds(link, NAMES, st.lists(NAMES, min_size=1, max_size=4).map("/".join)),
    st.builds(hard_link, NAMES, NAMES),
)


@settings(ROUNDS, max_examples=600)
@example([link("a", "a//a")])
@given(st.lists(MEMBERS, max_size=12))
def test_members_in_any_order(members: list[bytes]) -> None:
    """Every member is well made: what matters is how links, folders and names meet."""
    check(tar(*members))


PARTS = st.sampled_from(["a", "b", "c", "..", "..", "."])
LINKS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join),
        st.lists(PARTS, min_size=1, max_size=5).map("/".join),
    ),
    max_size=8,
    unique_by=lambda pair: pair[0],
)


@settings(ROUNDS, max_examples=500)
@given(LINKS)
def test_links_through_links_never_leave(links: list[tuple[str, str]]) -> None:
    """The system's own resolution is asked about every link that was accepted."""
    check(tar(folder("a/a/a"), folder("b/b"), *(link(f"{name}-l", target) for name, target in links)))
    check(tar(*(link(name, target) for name, target in links)))


@ROUNDS
@given(
    st.lists(
        st.fixed_dictionaries(
            {"name": st.sampled_from([b"a", b"b/", b"../a", b"a/b", b"\xff"])},
            optional={
                "packed": st.binary(max_size=20),
                "method": st.sampled_from([0, 8, 12]),
                "flags": st.sampled_from([0, 8, 0x800]),
                "size": st.integers(0, 0xFFFFFFFF),
                "packed_size": st.integers(0, 60),
                "offset": st.integers(0, 90),
                "extra": st.binary(max_size=30),
                "attributes": st.integers(0, 0xFFFFFFFF),
                "made_by": st.integers(0, 0xFFFF),
            },
        ),
        max_size=4,
    )
)
def test_zips_whose_fields_are_anything(members: list[dict[str, object]]) -> None:
    check(raw_zip(*members))
    check(raw_zip64(*members))


@ROUNDS
@given(st.binary(max_size=400))
def test_extended_headers_of_anything(data: bytes) -> None:
    check(gzip.compress(pax(data) + entry("a") + END))
