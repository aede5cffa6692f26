"""What `logs` shows of a log: all of it, or what came from stderr, with or without times.

The index has the time and the stream of each piece. A record of it is written before its bytes, so the index is read
after them.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator

import attrs

from taskrunner.log.log_index import LogIndex, Mark

IndexReader = Callable[[int], AsyncIterator[bytes]]
"""Reads the index from a byte offset to its present end; nothing when there is none."""

LATE = 1 << 16
"""Bytes of a log that wait for its index. The index begins with the first output of the task; before that there are a
few lines of the worker."""

TIME_WIDTH = 25
"""Characters in front of a line: `2026-11-28T12:00:00.000Z `."""

_LINE_BREAK = re.compile(rb"(?:\n|\r+(?![\r\n]))(?!\Z)")
"""Where a line begins inside a piece. A line that is drawn again, after a carriage return, is a line here."""


@attrs.define
class LogView:
    """One call of `logs`, which may show several runs, one after the other."""

    timestamps: bool = False
    only_stderr: bool = False
    size: int = 0
    """Bytes that were read."""
    no_index: bool = False
    """Whether a log had none."""
    unknown: bool = False
    """Whether an index did not cover all of its log."""
    merged: bool = False
    """Whether a part of a log came from one pipe for stdout and stderr."""
    _last: bytes = b"\n"
    """The byte before the next one."""

    async def show(self, log: AsyncIterator[bytes], offset: int, index: IndexReader) -> AsyncIterator[bytes]:
        """Of a log that is read from a byte offset, what is to be shown."""
        known, waiting = LogIndex(), b""
        async for piece in log:
            self.size += len(piece)
            if not (self.timestamps or self.only_stderr):
                yield piece
                continue
            await _read_on(known, index)
            waiting += piece
            if known or len(waiting) > LATE:
                yield self._shown(known, offset, waiting)
                offset, waiting = offset + len(waiting), b""
        if waiting:
            await _read_on(known, index)
            yield self._shown(known, offset, waiting)

    def notes(self) -> Iterator[str]:
        """Messages for the user about what was shown."""
        if self.no_index:
            yield "this log has no index, so its times and streams are unknown; a log without output has none"
        if self.unknown:
            yield "the index of this log does not cover all of it"
        if self.merged and self.only_stderr:
            yield "stdout and stderr of this task are one stream; a process task has two with `separate_stderr = true`"

    @property
    def may_miss_stderr(self) -> bool:
        """Whether output from stderr may be missing."""
        return self.only_stderr and (self.no_index or self.unknown or self.merged)

    def _shown(self, known: LogIndex, offset: int, data: bytes) -> bytes:
        self.no_index |= not known
        return b"".join(self._part(mark, part) for mark, part in known.split(data, offset))

    def _part(self, mark: Mark, data: bytes) -> bytes:
        self.unknown |= not (mark.stream or self.no_index)
        self.merged |= mark.stream == "both"
        if self.only_stderr and mark.stream != "stderr":
            return b""
        return self._stamped(data, time_of(mark)) if self.timestamps else data

    def _stamped(self, data: bytes, time: bytes) -> bytes:
        """Each line with the time of its first byte."""
        begins = self._last == b"\n" or (self._last == b"\r" and data[:1] not in {b"\r", b"\n"})
        self._last = data[-1:]
        return (time if begins else b"") + _LINE_BREAK.sub(lambda found: found[0] + time, data)


def time_of(mark: Mark) -> bytes:
    """In UTC, to the millisecond, with a space after it; `-` when it is unknown."""
    text = mark.time.isoformat(timespec="milliseconds").replace("+00:00", "Z") if mark.time else "-"
    return text.ljust(TIME_WIDTH).encode()


async def _read_on(known: LogIndex, index: IndexReader) -> None:
    async for data in index(known.size):
        known.feed(data)
