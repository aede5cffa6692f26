"""Every kind of archive that is not unpacked, with its message. Nothing is ever written outside of the folder."""

from __future__ import annotations

import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
import zstandard

from taskrunner.connections import Connections
from taskrunner.errors import TaskFailed
from taskrunner.files.archives.bounds import Bounds
from taskrunner.files.unpack import FORMATS, unpack
from tests.support.archives import (
    COMPRESS,
    END,
    entry,
    folder,
    hard_link,
    link,
    padded,
    pax,
    raw_header,
    raw_zip,
    raw_zip64,
    tar,
    zip_info,
    zipped,
)

SMALL = Bounds(members=50, bytes=4 << 20, ratio=20, harmless_bytes=1 << 20, link_steps=1000)
"""The limits of the tests: like the real ones, but reached within milliseconds."""
NOISE = os.urandom(5 << 20)
DEEP = "/".join(["d" * 200] * 21)
WHOLE = "the archive"
DAMAGED_LIST = "the archive is damaged: its list of members is not where it says"
OTHER = f"the archive is of another format, not {FORMATS}"
ABSOLUTE = '"/etc/cron.d/x" is an absolute path'
UP = '"a/../../x" has a part ".."'
OUT = "links to a path outside of the archive"
TWIN = "is in the archive twice, first as a"
NO_TAR = f"{WHOLE} has no tar inside its compression"
UNREADABLE_ZIP = "the archive is cut short: it has no list of members at its end"

TARS = {
    "an absolute path": (tar(entry("/etc/cron.d/x")), ABSOLUTE),
    "an absolute path in a long name": (tar(pax({"path": "/etc/cron.d/x"}), entry("x")), ABSOLUTE),
    "a path that goes up": (tar(entry("a/../../x")), UP),
    "a path that goes up and stays inside": (tar(entry("a/../x")), '"a/../x" has a part ".."'),
    "a GNU long name that goes up": (tar(entry("././@LongLink", b"a/../../x\0", kind=b"L"), entry("x")), UP),
    "an extended header that goes up": (tar(pax({"path": "a/../../x"}), entry("x")), UP),
    "a global header that goes up": (tar(pax({"path": "a/../../x"}, b"g"), entry("x")), UP),
    "a folder that goes up": (tar(folder("../x")), '"../x" has a part ".."'),
    "a prefix that goes up": (tar(raw_header(prefix=b"..", magic=b"ustar\x0000")), '"../file" has a part ".."'),
    "a link that goes up": (tar(link("a", "../x")), f'"a" {OUT}'),
    "a link that goes up from a folder": (tar(link("b/c/a", "../../../x")), f'"b/c/a" {OUT}'),
    "a link that is absolute": (tar(link("a", "/etc/passwd")), '"a" links to an absolute path'),
    "a link through a link": (
        tar(folder("a/b"), link("a/b/up", "../.."), link("out", "a/b/up/..")),
        f'"out" {OUT}',
    ),
    "a link through a link that looks inside": (
        tar(folder("a/b/c"), link("a/b/c/up", "../../.."), link("out", "a/b/c/up/../../x")),
        f'"out" {OUT}',
    ),
    "a link through a link that comes later": (
        tar(link("out", "a/b/up/.."), folder("a/b"), link("a/b/up", "../..")),
        f'"out" {OUT}',
    ),
    "a link through what is not there": (
        tar(link("a", "NAME/../x"), link("name", ".")),
        '"a" links through "NAME", which the archive does not have',
    ),
    "a link to nothing": (tar(link("a", "")), '"a" links to nothing'),
    "a link with a control character": (tar(link("a", "b\x1b[2J")), '"a" links to a path that has a control character'),
    "a link that is not UTF-8": (tar(link("a", "b\udcff")), '"a" links to a path that is not UTF-8'),
    "a link that is too long": (
        tar(link("a", "b/" * 2048)),
        '"a" links to a path that is longer than 4095 bytes',
    ),
    "links that fan out": (
        tar(*(link(f"l{n}", f"l{n + 1}/" * 40 + "x") for n in range(20))),
        f"{WHOLE} has symbolic links through so many others that they cannot be checked",
    ),
    "a member through a link": (
        tar(link("a", "b"), folder("b"), entry("a/x")),
        '"a/x" is in a folder that the archive has as a symbolic link',
    ),
    "a folder through a link": (
        tar(link("a", "."), folder("a/x")),
        '"a/x" is in a folder that the archive has as a symbolic link',
    ),
    "a link in place of a folder": (tar(entry("a/x"), link("a", "b")), f'"a" {TWIN} folder'),
    "a file through a file": (
        tar(entry("a"), entry("a/x")),
        '"a/x" is in a folder that the archive has as a file',
    ),
    "a hard link that goes up": (tar(hard_link("a", "../x")), '"a" links to a path that has a part ".."'),
    "a hard link that is absolute": (
        tar(hard_link("a", "/etc/passwd")),
        '"a" links to a path that is an absolute path',
    ),
    "a hard link to what comes later": (
        tar(hard_link("a", "b"), entry("b")),
        '"a" is a hard link to something that the archive does not have before it',
    ),
    "a hard link to a folder": (tar(folder("b"), hard_link("a", "b")), '"a" is a hard link to a folder'),
    "a hard link to the top": (
        tar(hard_link("a", "./")),
        '"a" is a hard link to something that the archive does not have before it',
    ),
    "a hard link to itself": (
        tar(hard_link("a", "a")),
        '"a" is a hard link to something that the archive does not have before it',
    ),
    "a hard link through a link": (
        tar(folder("b"), entry("b/x"), link("l", "b"), hard_link("a", "l/x")),
        '"a" is a hard link to something that the archive does not have before it',
    ),
    "a hard link to a link, where that one leaves": (
        tar(link("b/c", "../x"), hard_link("a", "b/c")),
        f'"a" {OUT}',
    ),
    "a character device": (tar(entry("a", kind=tarfile.CHRTYPE, devmajor=1, devminor=3)), '"a" is a device'),
    "a block device": (tar(entry("a", kind=tarfile.BLKTYPE, devmajor=8)), '"a" is a device'),
    "a named pipe": (tar(entry("a", kind=tarfile.FIFOTYPE)), '"a" is a named pipe'),
    "an unknown kind": (tar(entry("a", kind=b"Z")), "\"a\" is of a kind that is not known: b'Z'"),
    "a part of several volumes": (tar(entry("a", kind=b"M")), '"a" is a part of an archive in several volumes'),
    "a name twice": (tar(entry("a"), entry("a")), f'"a" {TWIN} file'),
    "a name twice in two spellings": (tar(entry("b/a"), entry("./b//a")), f'"./b//a" {TWIN} file'),
    "a folder for a file": (tar(entry("a"), folder("a")), f'"a" {TWIN} file'),
    "a file for a folder": (tar(folder("a"), entry("a")), f'"a" {TWIN} folder'),
    "a name that is not UTF-8": (tar(entry("a\udcff")), '"a�" has a name that is not UTF-8'),
    "a name with a control character": (tar(entry("a\x1b[2Jb")), '"a�[2Jb" has a name that has a control character'),
    "a name with a line break": (tar(entry("a\nb")), '"a�b" has a name that has a control character'),
    "a name with a zero": (tar(pax({"path": "a\0b"}), entry("a")), '"a�b" has a name that has a control character'),
    "a name with a C1 control": (tar(entry("a\x9b")), '"a�" has a name that has a control character'),
    "no name": (tar(raw_header(name=bytes(100))), '"" has an empty name'),
    "the top as a file": (tar(entry("./")), '"./" is a file whose name ends with a slash'),
    "the top as a link": (tar(link(".", "a")), '"." has an empty name'),
    "a part that is too long": (tar(entry("a" * 256)), f'"{"a" * 200}…" has a part of more than 255 bytes'),
    "a path that is too long": (tar(entry(DEEP)), f'"{DEEP[:200]}…" has a name that is longer than 4095 bytes'),
    "a path that is too deep": (tar(entry("d/" * 128 + "x")), f'"{"d/" * 100}…" has more than 128 parts'),
    "too many members": (tar(*(entry(f"{n}") for n in range(51))), f"{WHOLE} has more than 50 members"),
    "too many folders on the way": (tar(entry("a/" * 51 + "b")), f"{WHOLE} has more than 50 members"),
    "too many extended headers": (tar(*[pax({"a": "b"})] * 51, entry("a")), f"{WHOLE} has more than 50 members"),
    "too large": (tar(entry("a", NOISE)), f"{WHOLE} has more than {4 << 20} bytes when it is unpacked"),
    "a size that is a lie": (tar(pax({"size": str(1 << 40)}), entry("a", b"b")), f"{WHOLE} is cut short"),
    "a size of 19 digits": (tar(pax({"size": "9" * 19}), entry("a", b"b")), f"{WHOLE} is cut short"),
    "a size that is no number": (tar(pax({"size": "-1"}), entry("a")), '"a" has a size that is no number'),
    "a negative size": (tar(raw_header(size=b"\xff" * 12)), '"file" has a negative size'),
    "a time that is impossible": (
        tar(pax({"mtime": "99999999999"}), entry("a")),
        '"a" has an impossible modification time',
    ),
    "a time that is no number": (tar(pax({"mtime": "nan"}), entry("a")), '"a" has an impossible modification time'),
    "a time of base 256": (
        tar(raw_header(mtime=b"\x80" + b"\xff" * 11)),
        '"file" has an impossible modification time',
    ),
    "a sparse file of GNU": (
        tar(entry("a", kind=tarfile.GNUTYPE_SPARSE)),
        '"a" is a sparse file: make the archive without --sparse',
    ),
    "a sparse file of POSIX": (
        tar(pax({"GNU.sparse.major": "1", "GNU.sparse.name": "a", "GNU.sparse.realsize": str(1 << 50)}), entry("b")),
        '"a" is a sparse file: make the archive without --sparse',
    ),
    "an extended header of a gigabyte": (
        tar(raw_header(name=b"PaxHeader", type=b"x", size=b"10000000000\0")),
        '"PaxHeader" is an extended header of more than 1048576 bytes',
    ),
    "a long name of a gigabyte": (
        tar(raw_header(name=b"@LongLink", type=b"L", size=b"10000000000\0")),
        '"@LongLink" is an extended header of more than 1048576 bytes',
    ),
    "an extended header without numbers": (
        tar(pax(b"path=/etc\n"), entry("a")),
        '"././@PaxHeader" is an extended header that is damaged',
    ),
    "an extended header that is longer than it is": (
        tar(pax(b"99 path=/etc\n"), entry("a")),
        '"././@PaxHeader" is an extended header that is damaged',
    ),
    "an extended header of length zero": (
        tar(pax(b"0 path=/etc\n"), entry("a")),
        '"././@PaxHeader" is an extended header that is damaged',
    ),
    "an extended header at the end": (
        tar(entry("a"), pax({"path": "b"})),
        f"{WHOLE} is damaged: it ends behind the extended header of a member",
    ),
    "cut short in a header": (tar(entry("a"))[:700], f"{WHOLE} is cut short"),
    "cut short in a file": (entry("a", bytes(5000))[:3000], f"{WHOLE} is cut short"),
    "no end marker": (entry("a", b"b"), f"{WHOLE} is cut short"),
    "damage in the middle": (
        entry("a") + b"x" * 512 + END,
        f"{WHOLE} is damaged: the header of a member is not readable",
    ),
    "damage in the first header": (b"x" + tar(entry("a"))[1:], OTHER),
    "nothing": (b"", f"{WHOLE} is empty"),
    "a tar of nothing": (END, f"{WHOLE} is empty"),
    "a short text": (b"hello", OTHER),
    "a web page": (
        b"\n<!DOCTYPE html><html>sign in</html>".ljust(600),
        f"{WHOLE} is a web page, not {FORMATS}",
    ),
    "a 7z archive": (b"7z\xbc\xaf\x27\x1c".ljust(600), f"{WHOLE} is a 7z archive, not {FORMATS}"),
}

BOMB = tar(entry("a", bytes(3 << 20)))
TREE = tar(entry("a", b"b" * 1000))
COMPRESSED = {
    **{
        f"a bomb of {name}": (
            compress(BOMB),
            f"{WHOLE} becomes more than 20 times as large when it is unpacked",
        )
        for name, compress in COMPRESS.items()
        if name
    },
    **{f"cut short in {name}": (COMPRESS[name](TREE)[:-20], f"{WHOLE} is cut short") for name in ("gz", "bz2", "xz")},
    "cut short in zst": (zstandard.compress(tar(entry("a", NOISE[:3000])))[:2000], f"{WHOLE} is cut short"),
    "a wrong checksum in gz": (
        COMPRESS["gz"](TREE)[:-8] + bytes(4) + COMPRESS["gz"](TREE)[-4:],
        f"{WHOLE} is damaged: CRC check failed 0x0 != {zlib.crc32(TREE):#x}",
    ),
    "behind the end of gz": (COMPRESS["gz"](TREE) + b"x", f"{WHOLE} is damaged: Not a gzipped file (b'x')"),
    "xz that needs a gigabyte of memory": (
        lzma.compress(TREE, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]),
        f"{WHOLE} is damaged: Memory usage limit exceeded",
    ),
    "zst that needs two gigabytes of memory": (
        b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\x00\x00",
        f"{WHOLE} is damaged: zstd decompress error: Frame requires too much memory for decoding",
    ),
    "a compressed text": (COMPRESS["gz"](b"hello" * 200), NO_TAR),
    "compressed twice": (COMPRESS["gz"](COMPRESS["gz"](NOISE[:3000])), NO_TAR),
    "a zip in gz": (COMPRESS["gz"](zipped(("a", NOISE[:3000]))), NO_TAR),
    "nothing in gz": (COMPRESS["gz"](b""), f"{WHOLE} is cut short"),
}


def deflated(content: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(content) + stream.flush()


GOOD = {"name": b"good", "content": b"good"}
ZEROS = bytes(3 << 20)
ZIPS = {
    "an absolute path": (zipped(("/etc/cron.d/x", b"")), ABSOLUTE),
    "a path that goes up": (zipped(("a/../../x", b"")), UP),
    "a folder that goes up": (zipped(("../x/", b"")), '"../x/" has a part ".."'),
    "a path of Windows": (
        raw_zip({"name": b"..\\x", "made_by": 0}),
        '"..\\x" has a "\\" in its name where the format demands a "/"',
    ),
    "a link that goes up": (zipped((zip_info("a", 0o120777), b"../x")), f'"a" {OUT}'),
    "a link that is absolute": (zipped((zip_info("a", 0o120777), b"/etc")), '"a" links to an absolute path'),
    "a link that is too long": (
        zipped((zip_info("a", 0o120777), b"b" * 4096)),
        '"a" links to a path that is longer than 4095 bytes',
    ),
    "a member through a link": (
        zipped((zip_info("a", 0o120777), b"b"), ("a/x", b"")),
        '"a/x" is in a folder that the archive has as a symbolic link',
    ),
    "a device": (zipped((zip_info("a", stat.S_IFBLK), b"")), '"a" is a device'),
    "a named pipe": (zipped((zip_info("a", stat.S_IFIFO), b"")), '"a" is a named pipe'),
    "a folder by its mode": (
        zipped((zip_info("a", 0o40755), b"")),
        '"a" is a folder by its mode and a file by its name',
    ),
    "a folder by its name": (
        zipped((zip_info("a/", 0o120777), b"b")),
        '"a/" is a folder by its name and something else by its mode',
    ),
    "a folder with content": (raw_zip({"name": b"a/"}), '"a/" is a folder with content'),
    "a name twice": (raw_zip(GOOD, GOOD), f'"good" {TWIN} file'),
    "a name that is not UTF-8": (raw_zip({"name": b"a\xff"}), '"a�" has a name that is not UTF-8'),
    "a name with a control character": (
        raw_zip({"name": b"a\x1b[2J"}),
        '"a�[2J" has a name that has a control character',
    ),
    "no name": (raw_zip({"name": b""}), '"" has an empty name'),
    "an encrypted member": (raw_zip({"name": b"a", "flags": 1}), '"a" is encrypted'),
    "a strongly encrypted member": (raw_zip({"name": b"a", "flags": 0x40}), '"a" is encrypted'),
    "compressed by bzip2": (
        zipped(("a", b"b"), method=zipfile.ZIP_BZIP2),
        '"a" is compressed by bzip2, which is not supported: use Deflate',
    ),
    "compressed by an unknown method": (
        raw_zip({"name": b"a", "method": 77}),
        '"a" is compressed by method 77, which is not supported: use Deflate',
    ),
    "too many members": (zipped(*((f"{n}", b"") for n in range(51))), f"{WHOLE} has more than 50 members"),
    "too large": (
        zipped(("a", NOISE), method=zipfile.ZIP_STORED),
        f"{WHOLE} has more than {4 << 20} bytes when it is unpacked",
    ),
    "a bomb": (zipped(("a", ZEROS)), f"{WHOLE} becomes more than 20 times as large when it is unpacked"),
    "a bomb of many": (
        zipped(*((f"{n}", bytes(100_000)) for n in range(40))),
        f"{WHOLE} becomes more than 20 times as large when it is unpacked",
    ),
    "members that overlap": (raw_zip(GOOD, {"name": b"good", "offset": 0}), '"good" overlaps another member'),
    "a member in another one": (
        raw_zip({"name": b"a", "content": raw_zip(GOOD)[:38]}, {**GOOD, "offset": 31}),
        '"good" overlaps another member',
    ),
    "a member that is not there": (
        raw_zip({"name": b"a", "offset": 5000}),
        '"a" lies outside of the archive\'s data',
    ),
    "a member that is too long": (
        raw_zip({"name": b"a", "packed_size": 5000, "size": 5000}),
        '"a" lies outside of the archive\'s data',
    ),
    "a member at a wrong place": (
        raw_zip({"name": b"a", "offset": 3}),
        '"a" is not where the list of members says',
    ),
    "two names for one member": (
        raw_zip({"name": b"a", "own_name": b"b"}),
        '"a" is something else in the list of members than in its own header',
    ),
    "two methods for one member": (
        raw_zip({"name": b"a", "own_method": 8}),
        '"a" is something else in the list of members than in its own header',
    ),
    "a member larger than it says": (
        raw_zip({"name": b"a", "content": b"b" * 9, "packed": deflated(b"b" * 9), "method": 8, "size": 5}),
        '"a" is larger than the list of members says',
    ),
    "a member smaller than it says": (
        raw_zip({"name": b"a", "size": 50}),
        '"a" is damaged: its checksum or size is wrong',
    ),
    "a wrong checksum": (raw_zip({"name": b"a", "crc": 5}), '"a" is damaged: its checksum or size is wrong'),
    "a stream that is damaged": (
        raw_zip({"name": b"a", "packed": b"\xff" * 9, "method": 8}),
        '"a" is damaged: Error -3 while decompressing data: invalid block type',
    ),
    "a stream that is cut short": (
        raw_zip({"name": b"a", "packed": deflated(b"content")[:-2], "method": 8}),
        '"a" is cut short',
    ),
    "a damaged extra field": (
        raw_zip({"name": b"a", "extra": b"\x01\x00\xff\xff"}),
        '"a" has extra fields that are damaged',
    ),
    "a zip64 field that is too short": (
        raw_zip({"name": b"a", "size": 0xFFFFFFFF, "extra": b"\x01\x00\x04\x00abcd"}),
        '"a" has extra fields that are damaged',
    ),
    "a zip64 size that is a lie": (
        raw_zip({"name": b"a", "packed_size": 0xFFFFFFFF, "extra": b"\x01\x00\x08\x00" + b"\xff" * 8}),
        '"a" lies outside of the archive\'s data',
    ),
    "a zip64 offset beyond everything": (
        raw_zip({"name": b"a", "offset": 0xFFFFFFFF, "extra": b"\x01\x00\x08\x00" + b"\xff" * 8}),
        '"a" lies outside of the archive\'s data',
    ),
    "a list that is something else": (
        raw_zip(GOOD).replace(b"PK\1\2", b"PK\1\3"),
        f"{WHOLE} is damaged: its list of members is not readable",
    ),
    "a part of several": (raw_zip({"name": b"a", "disk": 1}), f"{WHOLE} is one of several parts"),
    "cut short": (zipped(("a", b"b"))[:-30], UNREADABLE_ZIP),
    "cut short in the last record": (zipped(("a", b"b"))[:-1], UNREADABLE_ZIP),
    "something behind the end": (zipped(("a", b"b")) + b"x", UNREADABLE_ZIP),
    "fewer members than are listed": (
        raw_zip(GOOD, count=0),
        f"{WHOLE} is damaged: its list of members has another size than it says",
    ),
    "more members than are listed": (
        raw_zip(GOOD, count=2),
        f"{WHOLE} is cut short",
    ),
    "sixty thousand members that are not there": (
        raw_zip(GOOD, count=60_000),
        f"{WHOLE} is cut short",
    ),
    "a list at a wrong place": (zipped(("a", b"b"))[:-22] + b"x" + zipped(("a", b"b"))[-22:], DAMAGED_LIST),
    "a zip64 record at a wrong place": (
        raw_zip64(GOOD)[:-34] + struct.pack("<Q", 1 << 60) + raw_zip64(GOOD)[-26:],
        DAMAGED_LIST,
    ),
    "a zip64 record that is none": (
        raw_zip64(GOOD)[:-34] + struct.pack("<Q", 2) + raw_zip64(GOOD)[-26:],
        DAMAGED_LIST,
    ),
    "a zip of nothing": (zipped(), f"{WHOLE} is empty"),
}

HOSTILE = {
    **{f"tar: {name}": case for name, case in TARS.items()},
    **{f"compressed: {name}": case for name, case in COMPRESSED.items()},
    **{f"zip: {name}": case for name, case in ZIPS.items()},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_by_name_and_writes_nothing_outside(name: str, tmp_path: Path) -> None:
    archive, message = HOSTILE[name]
    target = tmp_path / "outer/target"
    target.mkdir(parents=True)
    source = tmp_path / "archive"
    source.write_bytes(archive)
    with source.open("rb") as file, pytest.raises(TaskFailed) as refused:
        unpack(file, target, Connections(), bounds=SMALL)
    assert (refused.value.reason, refused.value.message) == ("source-refused", f"unpack: {message}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "outer"]
    assert list((tmp_path / "outer").iterdir()) == [target]
    assert _leaving(target) == []


def _leaving(folder: Path) -> list[Path]:
    """What is left in a folder must not lead out of it either."""
    return [path for path in folder.rglob("*") if path.is_symlink() and not path.resolve().is_relative_to(folder)]


def test_there_are_no_devices_left_and_no_links_before_the_end(tmp_path: Path) -> None:
    """A link is made when all others are known: an archive that is refused before has made none."""
    source, target = tmp_path / "archive", tmp_path / "target"
    target.mkdir()
    source.write_bytes(tar(link("good", "file"), entry("file"), entry("/bad")))
    with source.open("rb") as file, pytest.raises(TaskFailed):
        unpack(file, target, Connections())
    assert [path.name for path in target.iterdir()] == ["file"]


def test_padding_is_what_the_builder_of_these_archives_makes() -> None:
    """The table is worth nothing if its archives were all damaged: the standard library reads the good ones."""
    data = tar(pax({"path": "a/b"}), entry("x", b"content"), link("l", "a"), hard_link("h", "a/b"))
    with tarfile.open(fileobj=io.BytesIO(data)) as read:
        assert read.getnames() == ["a/b", "l", "h"]
    for zipfile_data in (raw_zip(GOOD), raw_zip64(GOOD)):
        with zipfile.ZipFile(io.BytesIO(zipfile_data)) as archive:
            assert archive.read("good") == b"good"
    assert len(padded(b"x")) == 512
