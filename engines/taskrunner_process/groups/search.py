"""Ending a group by searching for its processes: for systems that keep no list of them."""

from __future__ import annotations

import os
import signal
import threading
import time
from abc import abstractmethod
from collections.abc import Callable

from taskrunner_process.groups.foreign import FOREIGN
from taskrunner_process.groups.process_group import KILL_TIME, ProcessGroup, unkillable

FIRST_PAUSE = 0.001
"""Seconds until the next search; doubles up to LONGEST_PAUSE. An exit takes about a millisecond."""
LONGEST_PAUSE = 0.05


class SearchedGroup(ProcessGroup):
    """Finds its processes by what they cannot easily shed, and remembers each that it has seen.

    A fork bomb is faster than a loop that kills one process at a time. So everything is stopped first, and searched
    again until a search finds nothing new: then no process is left that could fork, and all are killed.

    A search takes milliseconds, in which one process can fork, exit, and pass for gone; so it takes two to be sure.

    What is remembered are numbers, and the kernel gives one that is free to any other process, of another run or
    program. The first process may exit hours before the end of its group (a step, a further command), so it keeps its
    number, as a zombie, until the group is closed. The others are remembered for as long as `end` searches.
    """

    def __init__(self, marker: str) -> None:
        self.marker = marker
        self.known: set[int] = set()
        """Every process seen so far; also their sessions and POSIX process groups, when they lead them."""
        self.first: set[int] = set()
        """The first process, which somebody else reaps. Empty in a group that was only searched for."""
        self._closing = threading.Lock()
        self._closed = False
        self._reap_first: Callable[[], object] | None = None

    def add(self, pid: int) -> None:
        self.first.add(pid)
        self.known.add(pid)

    def first_exited(self, reap: Callable[[], object]) -> None:
        with self._closing:
            self._reap_first = reap
            if self._closed:
                self._reap_now()

    @abstractmethod
    def search(self) -> set[int]:
        """The processes that are alive now, zombies not among them; adds to `known`."""

    def end(self, limit: float = KILL_TIME) -> None:
        give_up = time.monotonic() + limit
        stopped: set[int] = set()
        pause = FIRST_PAUSE
        while alive := self.search() or self.search():
            fresh = alive - stopped
            if fresh:
                send(fresh, signal.SIGSTOP)
                stopped |= fresh
                continue
            send(alive, signal.SIGKILL)
            if time.monotonic() > give_up:
                raise unkillable(alive, limit)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        self.known &= self.first

    def close(self) -> None:
        with self._closing:
            self._closed = True
            self._reap_now()

    def _reap_now(self) -> None:
        if self._reap_first:
            self._reap_first()
            self._reap_first = None


def send(pids: set[int], number: signal.Signals) -> None:
    """Sends a signal to each process that still exists."""
    foreign: set[int] = set()
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            """It is gone."""
        except PermissionError:
            foreign.add(pid)
    if foreign:
        FOREIGN.send(foreign, number)
