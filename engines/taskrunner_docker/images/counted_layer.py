"""Counts what Docker would unpack of the layers of an image: it has no limit itself."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import attrs

from taskrunner.files.archives.bounds import Usage
from taskrunner.files.archives.decompression import PIECE, compression_of
from taskrunner.files.archives.member import Member
from taskrunner.files.archives.refusal import member_refused

_GZIP = 31
"""Tells zlib to expect the head and the checksum of gzip."""


def counted(member: Member, usage: Usage) -> Iterator[bytes]:
    """The content of a member as it is. What is compressed in it counts as if it stood in the archive, so that the
    limits for both together are those of one archive. Raises: TaskFailed, Interrupted."""
    inflation: _Inflation | None = None
    for number, piece in enumerate(member.content):
        if number == 0 and (compression := compression_of(piece)):
            if compression != "gzip":
                fix = "save the image with layers that are compressed by gzip or not at all"
                raise member_refused(member.name, f"is compressed by {compression}: {fix}")
            inflation = _Inflation(member.name, usage)
        if inflation:
            inflation.add(piece)
        yield piece


@attrs.define
class _Inflation:
    name: str
    usage: Usage
    _inflater: zlib._Decompress = attrs.field(factory=lambda: zlib.decompressobj(_GZIP))

    def add(self, data: bytes) -> None:
        try:
            while data:
                self.usage.add_bytes(len(self._inflater.decompress(data, PIECE)))
                data = self._inflater.unconsumed_tail
                if self._inflater.eof:  # another stream may follow
                    data, self._inflater = self._inflater.unused_data, zlib.decompressobj(_GZIP)
        except zlib.error as error:
            raise member_refused(self.name, f"is damaged: {error}") from None
