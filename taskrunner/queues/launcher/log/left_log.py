"""The log of a build whose worker died before it was sent: made again of what the run has left in the home.

The lines of JSON were in a file that has ended with the worker. The log of the run, its index and its journal say the
same, but for the progress of the worker's own steps. A move has its place by its time; what belongs to a step comes
after the move to `running`, however close they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from taskrunner.interfaces.log import LogOrigin, index_of
from taskrunner.limits import EARLIEST
from taskrunner.log.log_index import Mark, read_index
from taskrunner.log.reader import read
from taskrunner.model import Move, Resolution, RunKey
from taskrunner.queues.launcher.log.lines import OWN, LogLines
from taskrunner.queues.launcher.log.phases import PHASES, LogPhases
from taskrunner.state.journal_reader import read_journal, state_visits
from taskrunner.state.run_folder import RunFolder

RUNNING = "running"

STEP = f"{OWN}step ".encode()
"""How the lines about steps begin."""


def left_run(home: Path, task_id: str) -> RunFolder | None:
    """The last run of a task whose log is still there."""
    logs = home.joinpath("runs", task_id).glob("*/log")
    numbers = [int(log.parent.name) for log in logs if log.parent.name.isdecimal()]
    return RunFolder(home, RunKey(task_id, max(numbers))) if numbers else None


class LeftLog:
    """The log of one such build, which ended as `ending` says."""

    def __init__(self, folder: RunFolder, step_ids: Sequence[str], ending: Resolution) -> None:
        """Reads the journal and the index. Raises: OSError."""
        self._path, self._ending = folder.log, ending
        self._index = read_index(index_of(folder.log))
        visits = state_visits(read_journal(folder.journal))
        self._visits = deque(visit for visit in visits if visit.state in {*PHASES, RUNNING})
        self._lines = LogLines(LogPhases(step_ids), lambda: self._now)
        self._now = EARLIEST

    async def lines(self) -> AsyncIterator[list[bytes]]:
        """All of it, some lines at a time. Raises: OSError."""
        offset = 0
        async for piece in read(self._path):
            for mark, part in self._index.split(piece, offset):
                yield list(self._of_part(part, mark))
            offset += len(piece)
        yield [*self._moves(len(self._visits)), *self._lines.finish(self._ending)]

    def _of_part(self, part: bytes, mark: Mark) -> Iterator[bytes]:
        if mark.time:
            yield from self._moves(sum(visit.at <= mark.time for visit in self._visits))
            self._now = max(self._now, mark.time)
        origin = LogOrigin(mark.stream, self._now) if mark.stream else None
        if mark.stream not in {"", "worker"}:
            yield from self._lines.piece(part, origin)
            return
        for line in part.splitlines(keepends=True):
            if line.startswith(STEP):
                yield from self._moves(self._until_running())
            yield from self._lines.piece(line, origin)

    def _until_running(self) -> int:
        """How many moves there are up to that one."""
        states = [visit.state for visit in self._visits]
        return states.index(RUNNING) + 1 if RUNNING in states else 0

    def _moves(self, number: int) -> Iterator[bytes]:
        """The next moves."""
        for _ in range(number):
            visit = self._visits.popleft()
            self._now = max(self._now, visit.at)
            ending = self._ending if visit.state == "uploading" else None
            yield from self._lines.moved(Move("", visit.event, visit.state), ending)
