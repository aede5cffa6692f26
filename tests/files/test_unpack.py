"""Archives that people have: each is unpacked as its own program would."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from taskrunner.blocking import run_blocking
from taskrunner.connections import Connections, Interrupted
from taskrunner.errors import Bug, MachineFault, TaskFailed, TaskFailedInternally
from taskrunner.files.archives.bounds import Bounds
from taskrunner.files.unpack import Unpacked, unpack
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


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


def unpacked(archive: bytes, target: Path, *, strip: int = 0, bounds: Bounds | None = None) -> Unpacked:
    source = target.parent / "archive"
    source.write_bytes(archive)
    with source.open("rb") as file:
        return unpack(file, target, Connections(), strip=strip, bounds=bounds or Bounds())


def seen(folder: Path) -> dict[str, tuple[str, int, bytes]]:
    """Kind and mode, time in nanoseconds and content of everything below a folder."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (stat.filemode(status.st_mode), status.st_mtime_ns, content)
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A project with everything that real ones have."""
    top = tmp_path / "made/project-1.0"
    (top / "src/deep/er").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "README").write_text("read\n")
    (top / "src/run.sh").write_text("#!/bin/sh\n")
    (top / "src/größe – 大小.txt").write_bytes(os.urandom(400_000))
    (top / "src/deep/er/nothing").touch()
    (top / "src" / ("long" * 50)).write_text("long name")
    (top / "src/deep/link").symlink_to("../../README")
    (top / "latest").symlink_to("src")
    (top / "broken").symlink_to("missing/file")
    (top / "loop").symlink_to("loop")
    (top / "src/run.sh").chmod(0o755)
    (top / "README").chmod(0o444)
    for number, path in enumerate(sorted(top.rglob("*"))):
        os.utime(path, ns=(0, 1_700_000_000_000_000_000 + number * 1_000_000_001), follow_symlinks=False)
    (top / "empty").chmod(0o555)
    return top.parent


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("form", ["gnu", "pax", "ustar"])
def test_a_tar_becomes_what_tar_makes_of_it(form: str, compression: str, sources: Path, target: Path) -> None:
    if form == "ustar":
        (sources / "project-1.0/src" / ("long" * 50)).unlink()
    made = subprocess.check_output(["tar", "-c", f"--format={form}", "-C", sources, "."])
    reference = target.parent / "reference"
    reference.mkdir()
    subprocess.run(["tar", "-x", "-p", "-C", reference], input=made, check=True)
    unpacked(COMPRESS[compression](made), target)
    assert len(seen(target)) == (13 if form == "ustar" else 14)
    assert seen(target) == seen(reference)


def test_a_zip_becomes_what_unzip_makes_of_it(sources: Path, target: Path) -> None:
    """Zip's own program stores times of whole seconds, and no time for a link."""
    archive = target.parent / "made.zip"
    subprocess.run(["zip", "-qry", archive, "."], cwd=sources, check=True)
    unpacked(archive.read_bytes(), target)
    mine, wanted = seen(target), seen(sources)
    assert {name: (mode, content) for name, (mode, _, content) in mine.items()} == {
        name: (mode, content) for name, (mode, _, content) in wanted.items()
    }
    files = [name for name, (mode, *_) in wanted.items() if mode[0] == "-"]
    assert [mine[name][1] for name in files] == [wanted[name][1] // 10**9 * 10**9 for name in files]


@pytest.mark.parametrize("form", ["tar", "tar.gz", "zip"])
def test_an_archive_that_git_makes(form: str, sources: Path, target: Path) -> None:
    git = ["git", "-C", sources, "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "all"], check=True)
    unpacked(subprocess.check_output([*git, "archive", f"--format={form}", "--prefix=top/", "HEAD"]), target, strip=1)
    mine, wanted = seen(target), seen(sources)
    assert {name: content for name, (_, _, content) in mine.items()} == {
        name: content
        for name, (_, _, content) in wanted.items()
        if not f"{name}/".startswith((".git/", "project-1.0/empty"))
    }
    assert mine["project-1.0/src/run.sh"][0][:4] == "-rwx"


def test_the_tree_is_kept_unless_parts_are_to_be_stripped(target: Path) -> None:
    archive = tar(
        folder("top"), entry("top/src/file", b"1"), link("top/link", "src/file"), hard_link("top/h", "top/link")
    )
    assert unpacked(archive, target) == Unpacked(members=4, size=1)
    assert sorted(seen(target)) == ["top", "top/h", "top/link", "top/src", "top/src/file"]


def test_stripped_parts_go_from_names_and_hard_links(target: Path) -> None:
    archive = tar(folder("top"), entry("top/a/file", b"1"), hard_link("top/b", "./top/a/file"), link("top/l", "a/file"))
    unpacked(archive, target, strip=1)
    assert sorted(seen(target)) == ["a", "a/file", "b", "l"]
    assert (target / "a/file").samefile(target / "b")
    assert (target / "l").read_text() == "1"


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (tar(entry("top/a/file"), entry("file")), '"file" has no more than the 1 parts that are stripped'),
        (tar(entry("a/file"), entry("b/file")), '"b/file" is in the archive twice, first as a file'),
        (tar(entry("a/file"), link("a/l", "../b")), '"a/l" links to a path outside of the archive'),
        (
            tar(folder("a"), hard_link("a/b", "a")),
            '"a/b" is a hard link to something that the archive does not have before it',
        ),
    ],
)
def test_stripping_loses_nothing_in_silence(archive: bytes, message: str, target: Path) -> None:
    with pytest.raises(TaskFailed) as refused:
        unpacked(archive, target, strip=1)
    assert refused.value.message == f"unpack: {message}"


def test_modes_are_kept_without_the_bits_that_give_rights(target: Path) -> None:
    """Whatever the umask of the worker is."""
    before = os.umask(0o077)
    try:
        unpacked(
            tar(
                entry("setuid", mode=0o4755),
                entry("setgid", mode=0o2775),
                entry("none", mode=0),
                folder("sticky", mode=0o1777),
                folder("closed", mode=0),
                entry("closed/file", mode=0o666),
                entry("implicit/file", mode=0o644),
            ),
            target,
        )
    finally:
        os.umask(before)
    assert {name: mode for name, (mode, *_) in seen(target).items()} == {
        "setuid": "-rwxr-xr-x",
        "setgid": "-rwxrwxr-x",
        "none": "-r--------",
        "sticky": "drwxrwxrwx",
        "closed": "dr-x------",
        "closed/file": "-rw-rw-rw-",
        "implicit": "drwxr-xr-x",
        "implicit/file": "-rw-r--r--",
    }


def test_the_bits_of_a_zip_are_left_out_too(target: Path) -> None:
    unpacked(zipped((zip_info("a", 0o106755), b"")), target)
    assert seen(target)["a"][0] == "-rwxr-xr-x"


def test_a_worker_without_rights_unpacks_folders_without_write_permission(open_tmp: Path) -> None:
    archive = open_tmp / "archive"
    archive.write_bytes(
        tar(folder("a", mode=0o555), folder("a/b", mode=0o500), entry("a/b/c", b"c"), link("a/b/l", "c"))
    )
    (open_tmp / "target").mkdir()
    (open_tmp / "target").chmod(0o777)
    script = """
import os, sys
from pathlib import Path
from taskrunner.connections import Connections
from taskrunner.files.unpack import unpack
os.setgid(65534); os.setuid(65534)
top = Path(sys.argv[1])
print(unpack(open(top / "archive", "rb"), top / "target", Connections()))
print((top / "target/a/b/l").read_text(), *(oct((top / path).stat().st_mode) for path in ("target/a", "target/a/b")))
"""
    script = f"import sys; sys.path[:0] = {[str(Path.cwd())]}\n" + script
    printed = subprocess.check_output([sys.executable, "-c", script, open_tmp], text=True)
    assert printed == "Unpacked(members=4, size=1)\nc 0o40555 0o40500\n"


def test_times_keep_their_nanoseconds_and_may_be_before_1970(target: Path) -> None:
    unpacked(
        tar(
            pax({"mtime": "1350244992.023960108"}),
            entry("exact"),
            pax({"mtime": "-1.25"}),
            entry("early"),
            pax({"mtime": "1.5"}),
            folder("f"),
            entry("f/later", mtime=5_000_000_000),
        ),
        target,
    )
    assert {name: time for name, (_, time, _) in seen(target).items()} == {
        "exact": 1350244992023960108,
        "early": -1_250_000_000,
        "f": 1_500_000_000,
        "f/later": 5_000_000_000 * 10**9,
    }


def test_a_zip_without_a_zone_means_utc(target: Path) -> None:
    unpacked(zipped((zip_info("a"), b"")), target)
    assert seen(target)["a"][1] == 1_714_979_290 * 10**9


def test_a_time_that_dos_does_not_know_is_its_first(target: Path) -> None:
    unpacked(raw_zip({"name": b"a"}).replace(b"\0\0\x21\0", b"\0\0\0\0"), target)
    assert seen(target)["a"][1] == 315_532_800 * 10**9


def test_global_and_empty_records_of_extended_headers(target: Path) -> None:
    """A global one holds for all members, an empty one takes it back; others are passed over."""
    unpacked(
        tar(
            pax({"comment": "a commit", "mtime": "5"}, b"g"),
            entry("a", mtime=9),
            pax({"mtime": "", "SCHILY.xattr.user.x": "y"}),
            entry("b", mtime=9),
            pax({"path": "long" * 40}, b"X"),
            entry("c"),
        ),
        target,
    )
    assert {name: time for name, (_, time, _) in seen(target).items()} == {
        "a": 5 * 10**9,
        "b": 9 * 10**9,
        "long" * 40: 5 * 10**9,
    }


def test_a_folder_may_be_named_twice_and_after_its_content(target: Path) -> None:
    unpacked(tar(entry("a/file"), folder("a", mode=0o700), folder("./a/", mode=0o750), folder("./")), target)
    assert seen(target)["a"][0] == "drwxr-x---"


def test_case_twins_are_two_files_where_the_disk_can_tell_them_apart(target: Path) -> None:
    """The Linux kernel has some."""
    unpacked(tar(entry("xt_DSCP.h", b"1"), entry("xt_dscp.h", b"2")), target)
    assert {name: content for name, (_, _, content) in seen(target).items()} == {"xt_DSCP.h": b"1", "xt_dscp.h": b"2"}


@pytest.mark.parametrize(
    "second", [entry("README", b"2"), folder("README"), link("README", "x"), hard_link("README", "first")]
)
def test_twins_are_refused_where_the_disk_cannot_tell_them_apart(
    second: bytes, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No such disk can be mounted everywhere: the system's calls see names in lower case here."""

    def lower(call: Callable[..., object], *names: int) -> Callable[..., object]:
        def called(*arguments: object, **options: object) -> object:
            if "dir_fd" not in options and "dst_dir_fd" not in options:
                return call(*arguments, **options)
            return call(*(str(each).lower() if at in names else each for at, each in enumerate(arguments)), **options)

        return called

    archive = target.parent / "archive"
    archive.write_bytes(tar(entry("first"), entry("readme", b"1"), second))
    with archive.open("rb") as file, monkeypatch.context() as patch:
        for name, places in {"open": (0,), "mkdir": (0,), "link": (0, 1), "symlink": (1,)}.items():
            patch.setattr(os, name, lower(getattr(os, name), *places))
        with pytest.raises(TaskFailed) as refused:
            unpack(file, target, Connections())
    assert refused.value.message == (
        'unpack: "README" differs from another member in its case or accents only, which this disk cannot tell apart'
    )
    assert (target / "readme").read_bytes() == b"1"


def test_a_hard_link_to_a_symbolic_one_is_one_more_of_its_kind(target: Path) -> None:
    unpacked(tar(entry("a/file", b"1"), link("a/l", "file"), hard_link("a/h", "a/l")), target)
    assert (target / "a/h").readlink() == Path("file")


def test_links_may_lead_to_the_top_and_through_each_other(target: Path) -> None:
    unpacked(
        tar(
            link("a/top", ".."),
            link("again", "a/top/a/top/file"),
            entry("file", b"1"),
            link("dot", "."),
            link("x", "x/y"),
        ),
        target,
    )
    assert (target / "again").read_text() == "1"
    assert (target / "dot").resolve() == target


@pytest.mark.parametrize("name", ["xz", "bz2", "gz", "zst"])
def test_several_compressed_streams_are_one_archive(name: str, target: Path) -> None:
    """As pigz, pixz and pzstd make them; xz may have zeros between them."""
    data = tar(entry("a", b"content" * 1000))
    gap = bytes(4) if name == "xz" else b""
    unpacked(gap.join([COMPRESS[name](data[:1000]), COMPRESS[name](data[1000:])]) + gap, target)
    assert (target / "a").read_bytes() == b"content" * 1000


def test_what_stands_behind_the_end_marker_is_ignored(target: Path) -> None:
    unpacked(tar(entry("a")) + tar(entry("../b")), target)
    assert names(target) == ["a"]


def test_a_single_block_of_zeros_ends_a_tar(target: Path) -> None:
    unpacked(entry("a") + END[:512], target)
    assert names(target) == ["a"]


def test_zip64_and_comments_and_gaps(target: Path) -> None:
    unpacked(raw_zip64({"name": b"a"}), target)
    (target / "a").unlink()
    extra = b"\x01\x00\x10\x00" + (7).to_bytes(8, "little") * 2
    unpacked(
        raw_zip(
            {"name": b"b", "size": 0xFFFFFFFF, "packed_size": 0xFFFFFFFF, "extra": extra},
            gap=9,
            comment=b"PK\5\6 " + b"c" * 30,
        ),
        target,
    )
    assert (target / "b").read_bytes() == b"content"


def test_backslashes_are_letters_in_names_from_unix(target: Path) -> None:
    """As in systemd's `dev-disk-by\\x2dlabel.device`."""
    unpacked(raw_zip({"name": b"by\\x2dlabel"}), target)
    assert names(target) == ["by\\x2dlabel"]


def test_a_tar_as_deep_as_paths_may_be(target: Path) -> None:
    name = "d/" * 127 + "file"
    unpacked(tar(entry(name, b"1")), target)
    place = os.open(target, os.O_RDONLY)
    for _ in range(127):
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    with os.scandir(place) as found:
        assert [each.name for each in found] == ["file"]
    os.close(place)


def test_small_archives_may_compress_well_and_large_ones_may_not_be_padding(target: Path) -> None:
    """A thousand empty files: 1000 times the size of the archive, and harmless."""
    archive = COMPRESS["xz"](tar(*(entry(f"{n}") for n in range(1000))))
    assert unpacked(archive, target) == Unpacked(1000, 0)


def test_a_folder_with_content_is_a_bug(target: Path) -> None:
    (target / "a").touch()
    with pytest.raises(Bug):
        unpacked(tar(entry("b")), target)


def test_a_full_disk_is_our_own_fault(small_disk: Path) -> None:
    with pytest.raises(MachineFault) as failed:
        unpacked(tar(entry("a", os.urandom(200_000))), small_disk)
    assert str(failed.value) == f"unpack: the archive cannot be unpacked here: {os.strerror(errno.ENOSPC)}"


def test_a_missing_library_is_named(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(
        TaskFailedInternally, match=r"cannot read \.zst archives: install taskrunner-worker\[archives\]"
    ):
        unpacked(COMPRESS["zst"](tar(entry("a"))), target)


def test_no_descriptor_stays_open(target: Path) -> None:
    unpacked(tar(entry("warm/up")), target)
    subprocess.run(["rm", "-r", target / "warm"], check=True)
    before = names(Path("/proc/self/fd"))
    with pytest.raises(TaskFailed):
        unpacked(tar(entry("a/b/c"), entry("a/d/e"), hard_link("a/x", "a/b/c"), entry("/bad")), target)
    assert names(Path("/proc/self/fd")) == before


class Endless(io.RawIOBase):
    """A tar whose only file never ends, as long as it is read."""

    def __init__(self, file: io.BufferedReader) -> None:
        self.file, self.reads, self.many = file, 0, threading.Event()
        self.beginning = pax({"size": str(1 << 50)}) + entry("a")

    def fileno(self) -> int:
        return self.file.fileno()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.reads = 0
        return 0

    def read(self, size: int = -1, /) -> bytes:
        data = self.beginning[self.reads : self.reads + size] or b"x" * min(size, 100)
        self.reads += len(data)
        if self.reads > 1_000_000:
            self.many.set()
        return data


def test_an_unpacking_can_be_interrupted(target: Path) -> None:
    """The thread has ended when the cancelled call returns."""
    source = target.parent / "archive"
    source.write_bytes(bytes(1 << 20))
    ended: list[BaseException] = []

    async def main() -> None:
        connections = Connections()
        with source.open("rb") as file:
            endless = Endless(file)

            def work() -> None:
                try:
                    unpack(endless, target, connections, bounds=Bounds(bytes=1 << 60, ratio=1 << 40))  # type: ignore[arg-type]
                except Interrupted as error:
                    ended.append(error)

            call = asyncio.create_task(
                run_blocking(work, limit=60, doing="unpacking", interrupt=connections.interrupt, grace=60)
            )
            await run_blocking(partial(endless.many.wait, 60), limit=70, doing="waiting")
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()

    asyncio.run(main())
    assert [type(error) for error in ended] == [Interrupted]


def test_python_reads_what_this_reads(sources: Path, target: Path) -> None:
    """`tarfile` writes its headers in another way than tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(sources, ".")
    unpacked(buffer.getvalue(), target)
    assert {name: (mode, content) for name, (mode, _, content) in seen(target).items()} == {
        name: (mode, content) for name, (mode, _, content) in seen(sources).items()
    }
