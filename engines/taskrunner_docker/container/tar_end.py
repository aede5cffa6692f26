"""Whether a tar is whole, seen while it passes in pieces that nobody unpacks."""

from __future__ import annotations

from tarfile import BLKTYPE, BLOCKSIZE, CHRTYPE, DIRTYPE, FIFOTYPE, LNKTYPE, SYMTYPE, XGLTYPE, XHDTYPE, ReadError

_EMPTY = frozenset({LNKTYPE, SYMTYPE, CHRTYPE, BLKTYPE, DIRTYPE, FIFOTYPE})
"""Types of members without contents, whatever size is in their header."""
_OF_ANOTHER = frozenset({b"L", b"K", XGLTYPE})
"""Types of what says more of the next member, or of all, but not its size."""
_MAGIC, _SIZE, _TYPE = slice(257, 262), slice(124, 136), slice(156, 157)
_BASE_256 = 0x80
_MAX_RECORDS = 16 << 20
"""Bytes of the records of one member: its attributes."""


class TarEnd:
    """Follows the headers of a tar, and keeps neither names nor contents.

    The zeros that end a tar may be in a file as well: they are the end where a header should be.
    """

    def __init__(self) -> None:
        self._skip = 0
        """Bytes until the next header."""
        self._held = b""
        """The beginning of a header that was cut, or whose records were."""
        self._size: int | None = None
        """That of the next member, when its own header has too few digits for it."""
        self._ended = False

    def feed(self, piece: bytes) -> None:
        """The next bytes. Raises tarfile.ReadError where a header should be and is none."""
        data, self._held = self._held + piece if self._held else piece, b""
        at = self._skip
        while at < len(data) and not self._ended:
            length = self._length(data, at)
            if length is None:
                self._held = data[at:]
                length = len(self._held)
            at += length
        self._skip = at - len(data)

    def check(self) -> None:
        """At the end of the stream. Raises tarfile.ReadError when the tar ends later."""
        if not self._ended:
            raise ReadError("unexpected end of data")

    def _length(self, data: bytes, at: int) -> int | None:
        """Bytes from this header to the next; None when more of it is needed."""
        header = data[at : at + BLOCKSIZE]
        if len(header) < BLOCKSIZE:
            return None
        if header == bytes(BLOCKSIZE):
            self._ended = True
            return BLOCKSIZE
        kind, size = header[_TYPE], _size(header)
        if kind == XHDTYPE:
            records = data[at + BLOCKSIZE : at + BLOCKSIZE + size]
            if len(records) < size <= _MAX_RECORDS:
                return None
            self._size = _size_record(records)
        elif kind not in _OF_ANOTHER:
            size = 0 if kind in _EMPTY else size if self._size is None else self._size
            self._size = None
        return BLOCKSIZE + size + -size % BLOCKSIZE


def _size(header: bytes) -> int:
    field = header[_SIZE]
    if header[_MAGIC] != b"ustar":
        raise ReadError("bad header")
    if field[0] == _BASE_256:
        return int.from_bytes(field[1:])
    return _number(field.strip(b"\0 ") or b"0", base=8)


def _size_record(records: bytes) -> int | None:
    """The size among the records of a member, each of which begins with its own length."""
    while records:
        length, _, rest = records.partition(b" ")
        key, _, value = rest[: _number(length) - len(length) - 2].partition(b"=")
        if key == b"size":
            return _number(value)
        records = records[max(_number(length), 1) :]
    return None


def _number(digits: bytes, base: int = 10) -> int:
    try:
        return int(digits, base)
    except ValueError:
        raise ReadError(f"{digits[:20]!r} is no number") from None
