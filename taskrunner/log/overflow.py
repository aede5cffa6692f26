"""The overflow of a log: keeps the newest bytes of a long log in at most two files of fixed size.

The files are called `<log>.tail-<where>-<number>`: `where` is the size of the log at which they will be joined,
`number` counts the segments. After a crash, the names say all that is needed to join them. Beside each segment is its
part of the index, `<segment>.index`, with offsets in the segment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from taskrunner.interfaces.log import LogStream, index_of
from taskrunner.log.index_writer import IndexWriter
from taskrunner.log.log_index import Mark, read_index

COPY_SIZE = 1 << 20
"""Bytes at a time when the segments are read back."""

APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class Overflow:
    """Keeps the newest bytes: at least `segment` of them, at most twice as many. Methods raise OSError."""

    def __init__(self, log: Path, segment: int, index_size: int) -> None:
        """`segment` and `index_size` are bytes, of each segment."""
        self._log, self._segment, self._index_size = log, max(1, segment), index_size
        self._number, self._size, self._file = -1, 0, -1
        self._index: IndexWriter | None = None
        self.joins_at = 0
        """The offset in the log, in bytes, at which the overflow is joined."""

    @property
    def begun(self) -> bool:
        return self._number >= 0

    @property
    def left_out(self) -> int:
        """Bytes that were appended and dropped since."""
        return max(0, self._number - 1) * self._segment

    def begin(self, joins_at: int) -> None:
        self.joins_at = joins_at
        self._next()

    def append(self, data: bytes, stream: LogStream) -> None:
        view = memoryview(data)
        while view:
            if self._size >= self._segment:
                self._next()
            if self._index:
                self._index.note(self._size, stream)
            taken = os.write(self._file, view[: self._segment - self._size])
            self._size, view = self._size + taken, view[taken:]

    def find(self) -> None:
        """Opens the segments that a dead worker left, if there are any."""
        pattern = re.compile(re.escape(self._log.name) + r"\.tail-(\d+)-(\d+)")
        found = [match for match in (pattern.fullmatch(path.name) for path in self._log.parent.iterdir()) if match]
        if not found:
            return
        self.joins_at, self._number = max((int(match[1]), int(match[2])) for match in found)
        self._file = os.open(self._path(self._number), APPEND)
        self._size = os.fstat(self._file).st_size
        self._index = self._new_index()
        self._unlink(self._number - 2)
        if self._number > 0 and not self._path(self._number - 1).exists():
            self.remove()  # they are removed oldest first, so they were joined already

    def newest(self) -> Path | None:
        """The file with the newest bytes, if there are any."""
        if self._size:
            return self._path(self._number)
        return self._path(self._number - 1) if self._number > 0 else None

    def pieces(self) -> Iterator[bytes]:
        """The kept bytes, oldest first. When older bytes were dropped, they begin with a whole line."""
        cut = self._cut()
        for path in self._paths():
            for piece in _read(path):
                yield piece[cut:]
                cut = 0

    def marks(self) -> Iterator[Mark]:
        """The index of the bytes that `pieces` yields: offsets count from the first of these."""
        begin = -self._cut()
        for path in self._paths():
            yield Mark(max(0, begin))
            for mark in read_index(index_of(path)):
                yield Mark(max(0, begin + mark.offset), mark.stream, mark.at)
            begin += path.stat().st_size

    def _cut(self) -> int:
        """Bytes of a line whose beginning was dropped."""
        first = next(_read(next(self._paths())), b"") if self.left_out else b""
        return first.find(b"\n") + 1

    def remove(self) -> None:
        """Removes the files, oldest first. Afterwards `begin` may be called again."""
        os.close(self._file)
        if self._index:
            self._index.close()
        for number in (self._number - 1, self._number):
            self._unlink(number)
        self._number, self._size, self._file, self._index = -1, 0, -1, None

    def _next(self) -> None:
        """Opens the next segment, and only then removes the one before the last: two always exist."""
        file = os.open(self._path(self._number + 1), APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        if self.begun:
            os.close(self._file)
        if self._index:
            self._index.close()
        self._number, self._size, self._file = self._number + 1, 0, file
        self._index = self._new_index()
        self._unlink(self._number - 2)

    def _new_index(self) -> IndexWriter:
        return IndexWriter(index_of(self._path(self._number)), self._index_size, existing=True)

    def _unlink(self, number: int) -> None:
        path = self._path(number)
        for each in (index_of(path), path):
            each.unlink(missing_ok=True)

    def _paths(self) -> Iterator[Path]:
        """Of the segments that are kept, oldest first."""
        return (self._path(number) for number in (self._number - 1, self._number) if number >= 0)

    def _path(self, number: int) -> Path:
        return self._log.with_name(f"{self._log.name}.tail-{self.joins_at}-{number}")


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(COPY_SIZE):
            yield piece
