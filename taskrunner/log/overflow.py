"""The overflow of a log: keeps the newest bytes of a long log in at most two files of fixed size.

The files are called `<log>.tail-<where>-<number>`: `where` is the size of the log at which they will be joined,
`number` counts the segments. After a crash, the names say all that is needed to join them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

COPY_SIZE = 1 << 20
"""Bytes at a time when the segments are read back."""

APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class Overflow:
    """Keeps the newest bytes: at least `segment` of them, at most twice as many. Methods raise OSError."""

    def __init__(self, log: Path, segment: int) -> None:
        self._log, self._segment = log, max(1, segment)
        self._number, self._size, self._file = -1, 0, -1
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

    def append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._size >= self._segment:
                self._next()
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
        self._path(self._number - 2).unlink(missing_ok=True)
        if self._number > 0 and not self._path(self._number - 1).exists():
            self.remove()  # they are removed oldest first, so they were joined already

    def newest(self) -> Path | None:
        """The file with the newest bytes, if there are any."""
        if self._size:
            return self._path(self._number)
        return self._path(self._number - 1) if self._number > 0 else None

    def pieces(self) -> Iterator[bytes]:
        """The kept bytes, oldest first. When older bytes were dropped, they begin with a whole line."""
        cut = self.left_out > 0
        for number in (self._number - 1, self._number):
            if number >= 0:
                for piece in _read(self._path(number)):
                    yield piece[piece.find(b"\n") + 1 :] if cut else piece
                    cut = False

    def remove(self) -> None:
        """Removes the files, oldest first. Afterwards `begin` may be called again."""
        os.close(self._file)
        for number in (self._number - 1, self._number):
            self._path(number).unlink(missing_ok=True)
        self._number, self._size, self._file = -1, 0, -1

    def _next(self) -> None:
        """Opens the next segment, and only then removes the one before the last: two always exist."""
        file = os.open(self._path(self._number + 1), APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        if self.begun:
            os.close(self._file)
        self._number, self._size, self._file = self._number + 1, 0, file
        self._path(self._number - 2).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._log.with_name(f"{self._log.name}.tail-{self.joins_at}-{number}")


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(COPY_SIZE):
            yield piece
