"""The members of a tar, one after the other.

`tarfile` reads long names and extended headers of any size into memory, and takes damage in the middle for the end.
So only its decoder of a single header is used.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from typing import NoReturn

import attrs

from taskrunner.files.archives.bounds import Usage
from taskrunner.files.archives.decompression import PIECE, CountedReader
from taskrunner.files.archives.member import SECOND, Kind, Member
from taskrunner.files.archives.refusal import archive_refused, member_refused

BLOCK = tarfile.BLOCKSIZE
LARGEST_HEADER = 1 << 20
"""Bytes of an extended header: room for extended attributes, of which Linux has 64 kB at most for each file."""
_KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.CONTTYPE: Kind.FILE,
    tarfile.DIRTYPE: Kind.FOLDER,
    tarfile.SYMTYPE: Kind.SYMBOLIC_LINK,
    tarfile.LNKTYPE: Kind.HARD_LINK,
}
_REFUSED = {
    tarfile.CHRTYPE: "is a device",
    tarfile.BLKTYPE: "is a device",
    tarfile.FIFOTYPE: "is a named pipe",
    tarfile.GNUTYPE_SPARSE: "is a sparse file: make the archive without --sparse",
    b"M": "is a part of an archive in several volumes",
    b"V": "is the label of a volume, not a file: make the archive without --label",
}
_TIME = re.compile(r"(-?\d{1,12})(?:\.(\d{1,30}))?")


def begins_tar(beginning: bytes) -> bool:
    """Whether these bytes, 512 at least, may be the first header of a tar, or the end marker of an empty one."""
    try:
        tarfile.TarInfo.frombuf(beginning[:BLOCK], "utf-8", "surrogateescape")
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed lacks it
        return True
    except tarfile.HeaderError:
        return False
    return True


@attrs.define
class TarReader:
    """Reads a tar to its end; what stands behind the end marker is ignored, as every tar program does."""

    reader: CountedReader
    usage: Usage
    _defaults: dict[str, str] = attrs.field(factory=dict)
    """Records of a global header: they hold for every member behind it."""
    _own: dict[str, str] = attrs.field(factory=dict)
    """Records of the next member only."""

    def members(self) -> Iterator[Member]:
        """Raises: TaskFailed, TaskFailedInternally, Interrupted."""
        while (header := self._header()) is not None:
            if not self._extends(header):
                yield from self._member(header)
        if self._own:
            raise archive_refused("is damaged: it ends behind the extended header of a member")
        self.reader.drain()

    def _header(self) -> tarfile.TarInfo | None:
        """The next one; None for the end marker."""
        block = self.reader.read_exactly(BLOCK)
        self.usage.add_member()
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed lacks it
            return None
        except tarfile.HeaderError:
            first = self.usage.members == 1
            raise archive_refused(
                "has no tar inside its compression" if first else "is damaged: the header of a member is not readable"
            ) from None
        if header.size < 0:
            raise member_refused(header.name, "has a negative size")
        return header

    def _extends(self, header: tarfile.TarInfo) -> bool:
        """Whether this one says something about the members behind it. Reads it."""
        match header.type:
            case tarfile.XGLTYPE:
                self._defaults |= self._records(header)
            case tarfile.XHDTYPE | tarfile.SOLARIS_XHDTYPE:
                self._own |= self._records(header)
            case tarfile.GNUTYPE_LONGNAME:
                self._own["path"] = self._long_text(header)
            case tarfile.GNUTYPE_LONGLINK:
                self._own["linkpath"] = self._long_text(header)
            case _:
                return False
        return True

    def _records(self, header: tarfile.TarInfo) -> dict[str, str]:
        return dict(_records(self._extended(header), header.name))

    def _long_text(self, header: tarfile.TarInfo) -> str:
        text, _, _ = self._extended(header).partition(b"\0")
        return text.decode("utf-8", "surrogateescape")

    def _extended(self, header: tarfile.TarInfo) -> bytes:
        if header.size > LARGEST_HEADER:
            raise member_refused(header.name, f"is an extended header of more than {LARGEST_HEADER} bytes")
        return self.reader.read_exactly(_padded(header.size))[: header.size]

    def _member(self, header: tarfile.TarInfo) -> Iterator[Member]:
        records = {key: value for key, value in (self._defaults | self._own).items() if value}
        self._own = {}
        name = records.get("path", header.name)
        if problem := _REFUSED.get(header.type):
            raise member_refused(name, problem)
        if header.type not in _KINDS:
            raise member_refused(name, f"is of a kind that is not known: {header.type!r}")
        if sparse := next((key for key in records if key.startswith("GNU.sparse.")), ""):
            raise member_refused(records.get(f"{sparse[:11]}name", name), _REFUSED[tarfile.GNUTYPE_SPARSE])
        kind = _KINDS[header.type]
        if kind is Kind.FILE and name.endswith("/"):
            raise member_refused(name, "is a file whose name ends with a slash")
        size = _size(records, header, name) if kind is Kind.FILE else 0
        content = self._content(size)
        yield Member(
            name, kind, header.mode, _modified(records, header, name), records.get("linkpath", header.linkname), content
        )
        for _ in content:
            """Passes over what the caller has not read."""

    def _content(self, size: int) -> Iterator[bytes]:
        left = size
        while left:
            piece = self.reader.read(min(left, PIECE))
            if not piece:
                raise archive_refused("is cut short")
            left -= len(piece)
            yield piece
        self.reader.read_exactly(_padded(size) - size)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _records(data: bytes, name: str) -> Iterator[tuple[str, str]]:
    """The records of an extended header: lines like `30 mtime=1350244992.023960108`; the number is the whole length."""

    def damaged() -> NoReturn:
        raise member_refused(name, "is an extended header that is damaged")

    at = 0
    while at < len(data):
        length, _, _ = data[at : at + 8].partition(b" ")
        end = at + int(length) if length.isdigit() else damaged()
        record = data[at + len(length) + 1 : end]
        key, equals, value = record[:-1].partition(b"=")
        if end > len(data) or not record.endswith(b"\n") or not equals:
            damaged()
        yield key.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
        at = end


def _size(records: dict[str, str], header: tarfile.TarInfo, name: str) -> int:
    text = records.get("size", str(header.size))
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise member_refused(name, "has a size that is no number")
    return int(text)


def _modified(records: dict[str, str], header: tarfile.TarInfo, name: str) -> int:
    found = _TIME.fullmatch(records.get("mtime", str(int(header.mtime))))
    if not found:
        raise member_refused(name, "has an impossible modification time")
    seconds, fraction = int(found[1]) * SECOND, int((found[2] or "0")[:9].ljust(9, "0"))
    return seconds - fraction if found[1].startswith("-") else seconds + fraction
