"""The output of a run for somebody who watches it: what the log has, without the lines of the worker."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Literal

import attrs

from taskrunner.interfaces.log import LogStream, index_of
from taskrunner.log.log_index import LogIndex
from taskrunner.log.reader import follow, read
from taskrunner.log.spool import LONG, PREFIX, Spool

RECENT_LINES = 10
"""Lines that were printed before somebody began to watch, as tail(1) shows them: a question among them."""

RECENT_BYTES = 1 << 16
"""Bytes at the end of the log that are searched for these lines."""

LINE_OF_WORKER = re.compile(rb"^" + re.escape(PREFIX) + rb".*\n", re.MULTILINE)
"""Where the index does not say what is whose."""

Piece = tuple[LogStream | Literal[""], bytes]
"""Bytes, and where they came from; empty when that is not known."""


@attrs.define
class FollowedOutput:
    """Of one run, for one reader. It reads the file of the log at its own pace, so that it never holds up the run. When
    the log is long, a last piece from the worker says so: the rest is in no file yet that can be read."""

    log: Spool
    ended: Callable[[], bool]
    """Whether everything has been printed."""
    _index: LogIndex = attrs.field(init=False, factory=LogIndex)

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The last lines so far, then what follows, up to the end of the command. Raises OSError."""
        before, told = self.log.size, False
        offset = max(0, before - RECENT_BYTES)
        async with aclosing(follow(self.log.path, offset, ended=self.ended)) as following:
            async for piece in following:
                await self._read_index()
                recent = piece[: max(0, before - offset)]  # all in the first piece: `READ_SIZE` is larger
                for found in last_lines([*self._of_command(recent, offset)], RECENT_LINES):
                    yield found
                for found in self._of_command(piece[len(recent) :], offset + len(recent)):
                    yield found
                offset += len(piece)
                if self.log.overflows and offset >= self.log.size and not told:
                    told = True
                    yield "worker", PREFIX + LONG.encode() + b"\n"

    async def _read_index(self) -> None:
        """After the piece: a record is written before its bytes."""
        async for marks in read(index_of(self.log.path), self._index.size):
            self._index.feed(marks)

    def _of_command(self, piece: bytes, offset: int) -> Iterator[Piece]:
        for mark, part in self._index.split(piece, offset):
            if not mark.stream:
                yield "", LINE_OF_WORKER.sub(b"", part)
            elif mark.stream != "worker":
                yield mark.stream, part


def last_lines(pieces: Sequence[Piece], count: int) -> list[Piece]:
    """The end of an output: so many lines, the last of which may not have its end yet."""
    kept: list[Piece] = []
    for stream, data in reversed(pieces):
        at = len(data) - (not kept)  # the end of the last line is the beginning of no other one
        while (at := data.rfind(b"\n", 0, max(at, 0))) >= 0:
            count -= 1
            if not count:
                return [(stream, data[at + 1 :]), *kept]
        kept.insert(0, (stream, data))
    return kept
