"""The members of a zip, in the order of their data."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import attrs

from taskrunner.files.archives.bounds import Usage
from taskrunner.files.archives.decompression import PIECE
from taskrunner.files.archives.member import LONGEST_PATH, Kind, Member
from taskrunner.files.archives.refusal import archive_refused, member_refused
from taskrunner.files.archives.zip_directory import ZipMember, read_directory, read_exactly

BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06")
"""A zip with members, and an empty one."""
_HEADER = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "zstd", 95: "xz", 98: "PPMd"}


@attrs.define
class ZipReader:
    """Reads a zip whose parts lie one behind the other and agree about each member."""

    archive: BinaryIO
    usage: Usage
    _end: int = 0
    """Where the data of the last member ended."""

    def members(self) -> Iterator[Member]:
        """Raises: TaskFailed, OSError, Interrupted."""
        entries, data_end = read_directory(self.archive, self.usage)
        for entry in entries:
            if entry.method not in {_STORED, _DEFLATED}:
                method = _METHODS.get(entry.method, f"method {entry.method}")
                raise member_refused(entry.name, f"is compressed by {method}, which is not supported: use Deflate")
            self._find(entry, data_end)
            yield from self._member(entry)

    def _find(self, entry: ZipMember, data_end: int) -> None:
        """Goes to the data of a member."""
        if entry.offset < self._end:
            raise member_refused(entry.name, "overlaps another member")
        if entry.offset >= data_end:
            raise member_refused(entry.name, "lies outside of the archive's data")
        self.archive.seek(entry.offset)
        magic, _, flags, method, *_, name_size, extra_size = _HEADER.unpack(read_exactly(self.archive, _HEADER.size))
        if magic != BEGINNINGS[0]:
            raise member_refused(entry.name, "is not where the list of members says")
        if read_exactly(self.archive, name_size) != entry.raw_name or method != entry.method or flags & 1:
            raise member_refused(entry.name, "is something else in the list of members than in its own header")
        begin = entry.offset + _HEADER.size + name_size + extra_size
        self._end = begin + entry.packed_size
        if self._end > data_end:
            raise member_refused(entry.name, "lies outside of the archive's data")
        self.archive.seek(begin)

    def _member(self, entry: ZipMember) -> Iterator[Member]:
        content = self._content(entry)
        if entry.kind is Kind.SYMBOLIC_LINK:
            if entry.size > LONGEST_PATH:
                raise member_refused(entry.name, f"links to a path that is longer than {LONGEST_PATH} bytes")
            target = b"".join(content).decode("utf-8", "surrogateescape")
            yield Member(entry.name, entry.kind, modified=entry.modified, target=target)
            return
        if entry.kind is Kind.FOLDER and entry.size:
            raise member_refused(entry.name, "is a folder with content")
        yield Member(entry.name, entry.kind, entry.mode, entry.modified, content=content)
        for _ in content:
            """Passes over what the caller has not read."""

    def _content(self, entry: ZipMember) -> Iterator[bytes]:
        size, checksum = 0, 0
        for piece in self._unpacked(entry):
            size += len(piece)
            if size > entry.size:
                raise member_refused(entry.name, "is larger than the list of members says")
            self.usage.add_bytes(len(piece))
            checksum = zlib.crc32(piece, checksum)
            yield piece
        if size != entry.size or checksum != entry.checksum:
            raise member_refused(entry.name, "is damaged: its checksum or size is wrong")

    def _unpacked(self, entry: ZipMember) -> Iterator[bytes]:
        if entry.method == _STORED:
            yield from self._packed(entry)
            return
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            for data in self._packed(entry):
                pending = data
                while pending and not stream.eof:
                    yield stream.decompress(pending, PIECE)
                    pending = stream.unconsumed_tail
            yield stream.flush()
        except zlib.error as error:
            raise member_refused(entry.name, f"is damaged: {error}") from None
        if not stream.eof:
            raise member_refused(entry.name, "is cut short")

    def _packed(self, entry: ZipMember) -> Iterator[bytes]:
        left = entry.packed_size
        while left:
            data = self.archive.read(min(left, PIECE))
            if not data:
                raise archive_refused("is cut short")
            left -= len(data)
            yield data
