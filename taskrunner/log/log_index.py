"""The index of a log: when each piece came, and from which stream.

A file beside the log, `<log>.index`, of records of 16 bytes, each appended by one system call: a version, a stream, the
offset in the log's file at which the piece begins, and the time of day. A record is valid up to the offset of the next,
and is written before its bytes. Output of one stream within the same tenth of a second shares a record.

Of two records about one place, the newer counts. So a record that a killed worker wrote for bytes that never came needs
no repair, and neither does a join that was repeated. A record that is torn or damaged is left out, which costs times.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import attrs

from taskrunner.interfaces.log import LogStream

VERSION = 1
"""The first byte of each record. Another one is of a format that this module does not read."""

RECORD = struct.Struct(">QQ")
"""Version (8 bits), stream (8), offset in bytes (48); milliseconds since 1970 (64)."""

STREAMS: tuple[LogStream | Literal[""], ...] = ("", "stdout", "stderr", "both", "worker")
"""A stream's number is its place here. The first is for bytes about which the index knows nothing."""

NUMBERS = {stream: number for number, stream in enumerate(STREAMS)}

MOST_OFFSET = (1 << 48) - 1

LAST_MOMENT = int(datetime.max.replace(tzinfo=UTC).timestamp()) * 1000
"""Milliseconds since 1970 of the latest time that a record may have."""


@attrs.frozen
class Mark:
    """From `offset` on, up to the next mark, bytes came from `stream` (empty: unknown) at a time."""

    offset: int
    stream: LogStream | Literal[""] = ""
    at: int = 0
    """Milliseconds since 1970."""

    @property
    def time(self) -> datetime | None:
        """UTC; None when it is unknown."""
        return datetime.fromtimestamp(self.at / 1000, UTC) if self.stream else None


class LogIndex:
    """The marks of a log, as far as they have been read."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes of the index that were fed."""
        self._rest = b""
        self._offsets, self._times, self._numbers = array("Q"), array("Q"), bytearray()

    def __bool__(self) -> bool:
        return bool(self._offsets)

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the index, cut anywhere."""
        self.size += len(data)
        data = self._rest + data
        whole = len(data) - len(data) % RECORD.size
        self._rest = data[whole:]
        for where, at in RECORD.iter_unpack(data[:whole]):
            version, number, offset = where >> 56, where >> 48 & 0xFF, where & MOST_OFFSET
            if version == VERSION and number < len(STREAMS) and at <= LAST_MOMENT:
                self._insert(offset, number, at)

    def split(self, data: bytes, offset: int) -> Iterator[tuple[Mark, bytes]]:
        """The parts of a piece of the log that begins at this offset, each with its mark."""
        place = bisect_right(self._offsets, offset) - 1
        end, begin = offset + len(data), offset
        while begin < end:
            until = self._offsets[place + 1] if place + 1 < len(self._offsets) else end
            yield self._mark(place), data[begin - offset : until - offset]
            begin, place = until, place + 1

    def __iter__(self) -> Iterator[Mark]:
        return map(self._mark, range(len(self._offsets)))

    def _mark(self, place: int) -> Mark:
        if place < 0:
            return Mark(0)
        return Mark(self._offsets[place], STREAMS[self._numbers[place]], self._times[place])

    def _insert(self, offset: int, number: int, at: int) -> None:
        while self._offsets and self._offsets[-1] >= offset:
            for column in (self._offsets, self._times, self._numbers):
                column.pop()
        self._offsets.append(offset)
        self._times.append(at)
        self._numbers.append(number)


def encode(mark: Mark) -> bytes:
    return RECORD.pack(VERSION << 56 | NUMBERS[mark.stream] << 48 | mark.offset, mark.at)


def read_index(path: Path) -> LogIndex:
    """The index in a file; an empty one when there is none. Raises OSError."""
    index = LogIndex()
    with suppress(FileNotFoundError):
        index.feed(path.read_bytes())
    return index
