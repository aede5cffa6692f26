"""Archives of every kind, made byte by byte where the usual libraries refuse to."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib

import zstandard

END = bytes(2 * tarfile.BLOCKSIZE)
"""The end marker of a tar."""


def entry(name: str, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, link: str = "", **more: object) -> bytes:
    """One member of a tar: header and content. `more` are attributes of its TarInfo."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content)
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + padded(content)


def raw_header(**fields: bytes) -> bytes:
    """The header of an empty file `file` with fields replaced by bytes of any kind, and a checksum that is right."""
    places = {"name": 0, "mode": 100, "size": 124, "mtime": 136, "type": 156, "link": 157, "magic": 257, "prefix": 345}
    header = bytearray(entry("file"))
    for field, value in fields.items():
        header[places[field] : places[field] + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)


def tar(*entries: bytes) -> bytes:
    return b"".join(entries) + END


def folder(name: str, **more: object) -> bytes:
    return entry(name, kind=tarfile.DIRTYPE, **{"mode": 0o755, **more})


def link(name: str, target: str) -> bytes:
    return entry(name, kind=tarfile.SYMTYPE, link=target)


def hard_link(name: str, target: str) -> bytes:
    return entry(name, kind=tarfile.LNKTYPE, link=target)


def pax(records: dict[str, str] | bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """An extended header; bytes are taken as they are."""
    return entry("././@PaxHeader", records if isinstance(records, bytes) else pax_records(records), kind=kind)


def pax_records(records: dict[str, str]) -> bytes:
    data = b""
    for key, value in records.items():
        rest = b" " + key.encode() + b"=" + value.encode("utf-8", "surrogateescape") + b"\n"
        size = len(rest) + len(str(len(rest)))
        data += str(len(rest) + len(str(size))).encode() + rest
    return data


COMPRESS = {
    "": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip as Python makes it, in the order of the members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def zip_info(name: str, mode: int = 0o100644, system: int = 3) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (2024, 5, 6, 7, 8, 10))
    info.create_system, info.external_attr, info.compress_type = system, mode << 16, zipfile.ZIP_DEFLATED
    return info


def raw_zip(*members: dict[str, object], count: int | None = None, gap: int = 0, comment: bytes = b"") -> bytes:
    """A zip from the fields of its members, where those of the list and of a member's own header may differ.

    Fields: name, content, packed, method, flags, crc, size, packed_size, made_by, attributes, offset, extra, disk,
    and own_name, own_method for the member's own header.
    """
    body, listing = b"", b""
    for member in members:
        name = _bytes(member.get("name", b"file"))
        content = _bytes(member.get("content", b"content"))
        packed = _bytes(member.get("packed", content))
        method, flags = member.get("method", 0), member.get("flags", 0)
        crc, size = member.get("crc", zlib.crc32(content)), member.get("size", len(content))
        packed_size = member.get("packed_size", len(packed))
        offset = member.get("offset", len(body))
        extra = _bytes(member.get("extra", b""))
        own_name = _bytes(member.get("own_name", name))
        own_method = member.get("own_method", method)
        body += struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, own_method, 0, 33, crc, 0, 0, len(own_name), 0)
        body += own_name + packed
        made_by, disk, attributes = member.get("made_by", 3 << 8), member.get("disk", 0), member.get("attributes", 0)
        numbers = (made_by, 20, flags, method, 0, 33, crc, packed_size, size, len(name), len(extra), 0, disk, 0)
        listing += struct.pack("<4s6H3L5H2L", b"PK\1\2", *numbers, attributes, offset) + name + extra
    body += bytes(gap)
    number = len(members) if count is None else count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, number, number, len(listing), len(body), len(comment))
    return body + listing + end + comment


def raw_zip64(*members: dict[str, object]) -> bytes:
    """The same with the end record of zip64, whose values the usual one does not have."""
    short = raw_zip(*members)
    listing, end = short[:-22], struct.unpack("<4s4H2LH", short[-22:])
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, end[3], end[4], end[5], end[6])
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(listing), 1)
    usual = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return listing + record + locator + usual


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value
