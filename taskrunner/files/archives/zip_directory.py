"""The list of members at the end of a zip.

`zipfile` reads a list of any length into memory and takes an archive whose parts overlap, contradict each other or
leave gaps. So it is not used.
"""

from __future__ import annotations

import datetime as dt
import os
import stat
import struct
from collections.abc import Iterator
from typing import BinaryIO

import attrs

from taskrunner.files.archives.bounds import Usage
from taskrunner.files.archives.member import SECOND, Kind
from taskrunner.files.archives.refusal import archive_refused, member_refused

_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_MAGIC = b"PK\x06\x07"
_END_64 = struct.Struct("<4sQ2H2L4Q")
_END_64_MAGIC = b"PK\x06\x06"
_ENTRY = struct.Struct("<4s6H3L5H2L")
_ENTRY_MAGIC = b"PK\x01\x02"
_LONGEST_COMMENT = 0xFFFF
_IN_EXTRA_16, _IN_EXTRA_32 = 0xFFFF, 0xFFFFFFFF
"""Values that say: the real one is in the zip64 part."""
_ZIP64, _UNIX_TIME = 0x0001, 0x5455
"""Extra fields."""
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
"""Flags: encrypted, strongly, and with a masked list."""
_UNIX = {3, 19}
"""Systems whose entries have a Unix mode: Unix and macOS."""
_DOS = {0, 10, 14}
"""Systems whose tools may write `\\` for `/`: DOS, NTFS and VFAT."""


@attrs.frozen
class ZipMember:
    """One line of the list."""

    raw_name: bytes
    name: str
    kind: Kind
    mode: int
    modified: int
    """Nanoseconds since 1970, UTC."""
    method: int
    checksum: int
    packed_size: int
    size: int
    offset: int
    """Where the member begins in the archive."""


def read_directory(archive: BinaryIO, usage: Usage) -> tuple[list[ZipMember], int]:
    """The entries in the order of their data, and the offset where the data ends. Raises: TaskFailed, OSError."""
    count, size, offset = _end_record(archive, usage.archive_size)
    archive.seek(offset)
    entries = []
    for _ in range(count):
        usage.add_member()
        entries.append(_entry(archive))
    if archive.tell() != offset + size:
        raise archive_refused("is damaged: its list of members has another size than it says")
    return sorted(entries, key=lambda entry: entry.offset), offset


def read_exactly(archive: BinaryIO, size: int) -> bytes:
    """Raises TaskFailed when the archive ends before."""
    data = archive.read(size)
    if len(data) < size:
        raise archive_refused("is cut short")
    return data


def _end_record(archive: BinaryIO, archive_size: int) -> tuple[int, int, int]:
    """Number of members, size and offset of the list."""
    beginning = max(0, archive_size - _END.size - _LONGEST_COMMENT)
    archive.seek(beginning)
    tail = archive.read()
    at = tail.rfind(_END_MAGIC)
    while at >= 0 and not _is_end(tail, at):
        at = tail.rfind(_END_MAGIC, 0, at)
    if at < 0:
        raise archive_refused("is cut short: it has no list of members at its end")
    _, disk, first_disk, here, count, size, offset, _ = _END.unpack_from(tail, at)
    end = beginning + at
    if {here, count} & {_IN_EXTRA_16} or {size, offset} & {_IN_EXTRA_32}:
        disk, first_disk, here, count, size, offset, end = _end_record_64(
            archive, end, (disk, first_disk, here, count, size, offset)
        )
    if disk or first_disk or here != count:
        raise archive_refused("is one of several parts")
    if offset + size != end:
        raise archive_refused("is damaged: its list of members is not where it says")
    return count, size, offset


def _is_end(tail: bytes, at: int) -> bool:
    return at + _END.size <= len(tail) and at + _END.size + _END.unpack_from(tail, at)[7] == len(tail)


def _end_record_64(archive: BinaryIO, end: int, short: tuple[int, ...]) -> tuple[int, ...]:
    """The values of the zip64 record, and where it begins; without one, what is there are the values themselves."""
    if end < _LOCATOR.size:
        return *short, end
    archive.seek(end - _LOCATOR.size)
    magic, _, offset, _ = _LOCATOR.unpack(read_exactly(archive, _LOCATOR.size))
    if magic != _LOCATOR_MAGIC:
        return *short, end
    if offset > end - _LOCATOR.size - _END_64.size:
        raise archive_refused("is damaged: its list of members is not where it says")
    archive.seek(offset)
    magic, _, _, _, disk, first_disk, here, count, size, start = _END_64.unpack(read_exactly(archive, _END_64.size))
    if magic != _END_64_MAGIC:
        raise archive_refused("is damaged: its list of members is not where it says")
    return disk, first_disk, here, count, size, start, offset


def _entry(archive: BinaryIO) -> ZipMember:
    fields = _ENTRY.unpack(read_exactly(archive, _ENTRY.size))
    magic, made_by, _, flags, method, time, date, checksum, packed_size, size = fields[:10]
    name_size, extra_size, comment_size, disk, _, attributes, offset = fields[10:]
    if magic != _ENTRY_MAGIC:
        raise archive_refused("is damaged: its list of members is not readable")
    raw_name = read_exactly(archive, name_size)
    name = raw_name.decode("utf-8", "surrogateescape")
    extra = dict(_extra_fields(read_exactly(archive, extra_size), name))
    archive.seek(comment_size, os.SEEK_CUR)
    if flags & _ENCRYPTED:
        raise member_refused(name, "is encrypted")
    if "\\" in name and made_by >> 8 in _DOS:
        raise member_refused(name, 'has a "\\" in its name where the format demands a "/"')
    size, packed_size, offset, disk = _long_values(extra.get(_ZIP64, b""), (size, packed_size, offset, disk), name)
    if disk:
        raise archive_refused("is one of several parts")
    mode = attributes >> 16 if made_by >> 8 in _UNIX else 0
    kind = _kind(name, mode)
    mode = stat.S_IMODE(mode) if mode else 0o755 if kind is Kind.FOLDER else 0o644
    modified = _modified(extra.get(_UNIX_TIME, b""), date, time)
    return ZipMember(raw_name, name, kind, mode, modified, method, checksum, packed_size, size, offset)


def _extra_fields(extra: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        key, size = struct.unpack_from("<2H", extra, at)
        if at + 4 + size > len(extra):
            raise member_refused(name, "has extra fields that are damaged")
        yield key, extra[at + 4 : at + 4 + size]
        at += 4 + size


def _long_values(extra: bytes, short: tuple[int, int, int, int], name: str) -> tuple[int, int, int, int]:
    """Size, packed size, offset and number of the part: the zip64 field has those that do not fit, in this order."""
    values = list(short)
    at = 0
    for index, (layout, marker) in enumerate([("<Q", _IN_EXTRA_32)] * 3 + [("<L", _IN_EXTRA_16)]):
        if values[index] == marker:
            if at + struct.calcsize(layout) > len(extra):
                raise member_refused(name, "has extra fields that are damaged")
            (values[index],) = struct.unpack_from(layout, extra, at)
            at += struct.calcsize(layout)
    return values[0], values[1], values[2], values[3]


def _kind(name: str, mode: int) -> Kind:
    kind = stat.S_IFMT(mode)
    if name.endswith("/") and kind in {0, stat.S_IFDIR}:
        return Kind.FOLDER
    if name.endswith("/"):
        raise member_refused(name, "is a folder by its name and something else by its mode")
    if kind in {0, stat.S_IFREG}:
        return Kind.FILE
    if kind == stat.S_IFLNK:
        return Kind.SYMBOLIC_LINK
    kinds = {stat.S_IFDIR: "is a folder by its mode and a file by its name", stat.S_IFIFO: "is a named pipe"}
    raise member_refused(name, kinds.get(kind, "is a device"))


def _modified(extra: bytes, date: int, time: int) -> int:
    """Of the field for Unix if it is there, else of DOS's local time, which is taken for UTC: it has no zone."""
    if len(extra) >= 5 and extra[0] & 1:  # noqa: PLR2004  flags and four bytes
        return int(struct.unpack_from("<l", extra, 1)[0]) * SECOND
    try:
        moment = dt.datetime(
            (date >> 9) + 1980,
            date >> 5 & 15,
            date & 31,
            time >> 11,
            time >> 5 & 63,
            (time & 31) * 2,
            tzinfo=dt.UTC,
        )
    except ValueError:
        moment = dt.datetime(1980, 1, 1, tzinfo=dt.UTC)  # what a zip has that was made without a time
    return int(moment.timestamp()) * SECOND
