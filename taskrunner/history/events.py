"""What happens to a task, as events: its statuses, and the moves and the log of each of its runs.

An event has its place. A reader that was cut off goes on after the last place that it got, whoever serves it then:
nothing is kept for a reader. The events of a run are read from its journal and its log, so they are the same during the
run and long after it.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Literal, Self

import attrs

from taskrunner.history.run_log import OpenStore, RunLog
from taskrunner.interfaces.queue import Submitter
from taskrunner.log.log_index import LogIndex, Mark
from taskrunner.log.reader import read
from taskrunner.model import RunKey, StateVisit, TaskStatus
from taskrunner.state.journal_reader import read_journal, state_visits

LOOK_EVERY = 0.25
"""Seconds between two looks at the files of a run."""

_MOST = 18
"""Digits of a number in a place."""


@attrs.frozen
class EventPlace:
    """After an event: the run, how many of its moves have been told, and the offset in its log."""

    run_id: int = 0
    moves: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.run_id}.{self.moves}.{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        if not re.fullmatch(rf"(?a:\d{{1,{_MOST}}}\.\d{{1,{_MOST}}}\.\d{{1,{_MOST}}})", text):
            raise ValueError("is no place of an event")
        return cls(*map(int, text.split(".")))


@attrs.frozen
class LogPiece:
    """Bytes of a log that came from one stream at one time, if that is known."""

    offset: int
    data: bytes
    mark: Mark


@attrs.frozen
class FollowedEvent:
    """`status` of the task, after each change; `move` and `log` of a run; `answer`: the last status."""

    kind: Literal["status", "move", "log", "answer"]
    place: EventPlace
    about: TaskStatus | StateVisit | LogPiece


@attrs.frozen
class FollowedEvents:
    """The events of the tasks of a queue whose workers have their homes on this machine."""

    tasks: Submitter
    open_store: OpenStore

    async def follow(
        self, task_id: str, place: EventPlace = EventPlace(), *, log: bool = True
    ) -> AsyncGenerator[FollowedEvent, None]:
        """All events from a place on, until the task is resolved. Without `log`, only its statuses.

        Raises: UnknownTask, Unavailable.
        """
        async for status in self.tasks.watch(task_id):
            if status.state != "resolved":
                yield FollowedEvent("status", place, status)
            for run in status.runs if log else ():
                if run.run_id >= place.run_id:
                    follower = RunFollower(
                        RunLog(self.tasks, self.open_store, status, RunKey(task_id, run.run_id)),
                        place if run.run_id == place.run_id else EventPlace(run.run_id),
                    )
                    async for event in follower.events():
                        yield event
                    place = EventPlace(run.run_id + 1)
            if status.state == "resolved":
                yield FollowedEvent("answer", place, status)


@attrs.define
class RunFollower:
    """The events of one run, from a place on."""

    log: RunLog
    place: EventPlace
    _index: LogIndex = attrs.field(init=False, factory=LogIndex)
    _journal_size: int = 0
    """Bytes of the journal when it was read last: many followers of a run that does nothing cost little."""

    async def events(self) -> AsyncIterator[FollowedEvent]:
        """Moves and pieces of the log by their times, as far as those are known."""
        while True:
            last = await self.log.ended()  # asked before the reading, so that all that was written by then is read
            moves = self._new_moves()
            async for piece in self._new_pieces(last=last):
                while moves and piece.mark.time and moves[0].at <= piece.mark.time:
                    yield self._move(moves.popleft())
                self.place = attrs.evolve(self.place, offset=piece.offset + len(piece.data))
                yield FollowedEvent("log", self.place, piece)
            while moves:
                yield self._move(moves.popleft())
            if last:
                return
            await asyncio.sleep(LOOK_EVERY)

    def _new_moves(self) -> deque[StateVisit]:
        journal = self.log.folder.journal
        size = journal.stat().st_size if journal.exists() else 0
        if size == self._journal_size:
            return deque()
        self._journal_size = size
        return deque(state_visits(read_journal(journal))[self.place.moves :])

    def _move(self, visit: StateVisit) -> FollowedEvent:
        self.place = attrs.evolve(self.place, moves=self.place.moves + 1)
        return FollowedEvent("move", self.place, visit)

    async def _new_pieces(self, *, last: bool) -> AsyncIterator[LogPiece]:
        rest = b""  # the beginning of a character, whose end was not read
        begin = self.place.offset
        async for data in self._unread(last=last):
            whole = len(rest + data) - partial_character(rest + data)
            ready, rest = (rest + data)[:whole], (rest + data)[whole:]
            for piece in await self._split(ready, begin):
                yield piece
            begin += len(ready)
        for piece in await self._split(rest, begin) if last else ():
            yield piece

    def _unread(self, *, last: bool) -> AsyncIterator[bytes]:
        offset = self.place.offset
        return self.log.pieces(offset, live=False) if last else read(self.log.folder.log, offset)

    async def _split(self, data: bytes, begin: int) -> list[LogPiece]:
        async for more in self.log.index(self._index.size):
            self._index.feed(more)
        pieces = []
        for mark, part in self._index.split(data, begin):
            pieces.append(LogPiece(begin, part, mark))
            begin += len(part)
        return pieces


def partial_character(data: bytes) -> int:
    """How many bytes at the end are the beginning of a UTF-8 character: 0 to 3."""
    for length in range(1, min(4, len(data) + 1)):
        byte = data[-length]
        if byte >= 0xC0:  # noqa: PLR2004  the first byte of a character of several
            wanted = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4  # noqa: PLR2004  as UTF-8 is
            return length if length < wanted else 0
        if byte < 0x80:  # noqa: PLR2004  ASCII
            return 0
    return 0
