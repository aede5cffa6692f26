"""Ending a group by searching for its processes: for systems that keep no list of them."""

from __future__ import annotations

import os
import signal
import time
from abc import abstractmethod

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
    """

    def __init__(self, marker: str) -> None:
        self.marker = marker
        self.known: set[int] = set()
        """Every process seen so far; also their sessions and POSIX process groups, when they lead them."""

    def add(self, pid: int) -> None:
        self.known.add(pid)

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
