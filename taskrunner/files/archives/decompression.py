"""The bytes of a tar, whatever compressed it: read in pieces, counted, and checked for damage."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from typing import BinaryIO, Protocol, cast

import attrs

from taskrunner.errors import TaskFailedInternally, local_failure
from taskrunner.files.archives.bounds import Usage
from taskrunner.files.archives.refusal import archive_refused

PIECE = 1 << 18
"""Bytes that are read and written at a time."""
MAX_WINDOW = 1 << 27
"""Bytes of memory for zstd's window: what the zstd program takes, also with `--long`."""
XZ_MEMORY = 256 << 20
"""Bytes of memory for xz: four times what `xz -9` needs."""
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def compression_of(beginning: bytes) -> str:
    """The name of the format that begins with these bytes; empty for none that is known."""
    return next((name for magic, name in _MAGIC.items() if beginning.startswith(magic)), "")


def decompressed(archive: BinaryIO, compression: str) -> Readable:
    """A reader of what is inside. Raises: TaskFailedInternally (a library is missing)."""
    match compression:
        case "gzip":
            return cast("Readable", gzip.GzipFile(fileobj=archive, mode="rb"))
        case "bzip2":
            return cast("Readable", bz2.BZ2File(archive))
        case "xz":
            return _Xz(archive)
        case "zstd":
            return _Zstd(archive)
        case _:
            return archive


@attrs.define
class CountedReader:
    """Reads what is inside an archive; counts each byte, and turns what decompressors raise into one refusal."""

    source: Readable
    usage: Usage

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end. Raises: TaskFailed, TaskFailedInternally, Interrupted."""
        try:
            data = self.source.read(min(size, PIECE))
        except EOFError:
            raise archive_refused("is cut short") from None
        except OSError as error:
            if error.errno is not None:
                raise local_failure(f"unpack: the archive could not be read: {error.strerror}", error) from None
            raise archive_refused(f"is damaged: {error}") from None
        except (zlib.error, lzma.LZMAError, _Damaged) as error:
            raise archive_refused(f"is damaged: {error}") from None
        self.usage.add_bytes(len(data))
        return data

    def read_exactly(self, size: int) -> bytes:
        """So many bytes. Raises as `read` does, and TaskFailed when the archive ends before."""
        pieces = bytearray()
        while len(pieces) < size:
            piece = self.read(size - len(pieces))
            if not piece:
                raise archive_refused("is cut short")
            pieces += piece
        return bytes(pieces)

    def drain(self) -> None:
        """Reads to the end, so that the decompressor checks its sums. Raises as `read` does."""
        while self.read(PIECE):
            pass


class _Damaged(Exception):
    """A library that is not Python's own has found damage."""


class _Xz:
    """As `lzma.LZMAFile`, which has no limit for memory."""

    def __init__(self, archive: BinaryIO) -> None:
        self._archive = archive
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY)
        self._rest = b""
        """What was read of the archive and not given to the stream yet."""

    def read(self, size: int, /) -> bytes:
        while not self._stream.eof or self._begin_stream():
            data = self._take() if self._stream.needs_input else b""
            if self._stream.needs_input and not data:
                raise EOFError
            if out := self._stream.decompress(data, size):
                return out
        return b""

    def _take(self) -> bytes:
        rest, self._rest = self._rest, b""
        return rest or self._archive.read(PIECE)

    def _begin_stream(self) -> bool:
        """Begins the stream behind the one that has ended, and behind zeros. False at the end of the archive."""
        self._rest = self._stream.unused_data.lstrip(b"\0")
        while not self._rest and (data := self._archive.read(PIECE)):
            self._rest = data.lstrip(b"\0")
        if self._rest:
            self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY)
        return bool(self._rest)


class _Zstd:
    def __init__(self, archive: BinaryIO) -> None:
        try:
            import zstandard
        except ImportError:
            raise TaskFailedInternally(
                "unpack: this worker cannot read .zst archives: install taskrunner-worker[archives] on it"
            ) from None
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        self._stream = decompressor.stream_reader(archive, PIECE, read_across_frames=True, closefd=False)
        self._error = zstandard.ZstdError

    def read(self, size: int, /) -> bytes:
        try:
            return self._stream.read(size)
        except self._error as error:
            raise _Damaged(error) from None
