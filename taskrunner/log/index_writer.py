"""Writes the index of a log while the log is written."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from taskrunner.interfaces.log import LogStream
from taskrunner.log.log_index import RECORD, Mark, encode

TENTHS = 10
"""Records a second at most, of output in one stream: a person does not see a finer time."""

FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW

log = logging.getLogger(__name__)


class IndexWriter:
    """Writes an index. Not safe for several threads at once. No method raises: the log does not need its index.

    The file is not made for a single line of the worker's own: each log begins with one, and a run that prints nothing
    has no other before its end.
    """

    def __init__(self, path: Path, size: int, *, existing: bool = False, now: Callable[[], float] = time.time) -> None:
        """`size` is the most bytes that `note` writes; the last record of these says that what follows is unknown. With
        `existing`, a file that is there is continued."""
        self._path, self._existing, self._now = path, existing, now
        self._room = max(1, size // RECORD.size)
        """Records that may still be written."""
        self._first = b""
        self._file = -1
        self._broken = False
        self._stream, self._tenth = "", -1

    def note(self, offset: int, stream: LogStream) -> None:
        """The bytes from this offset on come now, from this stream. Called before they are written."""
        now = self._now()
        tenth = int(now * TENTHS)
        if (stream == self._stream and tenth == self._tenth) or not self._room:
            return
        self._stream, self._tenth = stream, tenth
        self._room -= 1
        record = encode(Mark(offset, stream, int(now * 1000)) if self._room else Mark(offset))
        if stream == "worker" and not (self._existing or self._first or self._file >= 0):
            self._first = record
        else:
            self._append(record)

    def add(self, marks: Iterable[Mark]) -> None:
        """Adds marks as they are, for bytes that were noted elsewhere."""
        self._append(b"".join(map(encode, marks)))
        self._stream = ""

    def end(self, offset: int) -> None:
        """The last lines of the log, which are the worker's, come now. They alone do not create it."""
        if self._file >= 0 or (self._existing and self._path.exists()):
            self.add([Mark(offset, "worker", int(self._now() * 1000))])
        self.close()

    def close(self) -> None:
        """May be called again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def remove(self) -> None:
        """Closes and removes the file."""
        self.close()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _append(self, records: bytes) -> None:
        """After an error the file is removed, since it would be wrong about all that comes."""
        if self._broken:
            return
        records, self._first = self._first + records, b""
        try:
            if self._file < 0:
                self._open()
            written = os.write(self._file, records)
        except OSError as error:
            self._disable(error.strerror or str(error))
        else:
            if written < len(records):
                self._disable("the disk is full")

    def _open(self) -> None:
        self._file = os.open(self._path, FLAGS | os.O_CREAT | (0 if self._existing else os.O_TRUNC), 0o600)
        size = os.fstat(self._file).st_size
        if size % RECORD.size:
            os.ftruncate(self._file, size - size % RECORD.size)

    def _disable(self, why: str) -> None:
        log.warning("the times of a log are lost, %s: %s", self._path, why)
        self._broken = True
        self.remove()
