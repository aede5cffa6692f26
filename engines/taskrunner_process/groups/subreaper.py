"""Linux without control groups: the worker becomes the parent of every orphan, and /proc tells the runs apart.

As a subreaper the worker inherits what a run leaves behind when it forks twice: all processes of all runs are its
descendants. A direct child belongs to a run when its session, POSIX process group or marker says so, or when it was
seen in that run before.

A process escapes when it does all of this before a search sees it: it starts a session of its own, loses its parent,
and was given an environment without the marker. Control groups do not have this gap.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

from taskrunner_process.groups.portable import Marked, end_marked
from taskrunner_process.groups.proc import Stat, has_variable, processes_by_parent
from taskrunner_process.groups.process_group import MARKER, UNLIMITED, ProcessGroup, ProcessGroups
from taskrunner_process.groups.run_limit import RunLimit
from taskrunner_process.groups.search import SearchedGroup

PR_SET_CHILD_SUBREAPER = 36
"""From <linux/prctl.h>; since Linux 3.4."""


class SubreaperGroups(ProcessGroups):
    """Makes the worker a subreaper for as long as it is open."""

    name = "subreaper"

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id
        set_subreaper(on=True)

    def open_group(self, run: str, limit: RunLimit = UNLIMITED) -> ProcessGroup:  # noqa: ARG002  there is none
        return SubreaperGroup(f"{run}@{self._worker_id}")

    def clean_up_after(self, worker_id: str) -> list[str]:
        return end_marked(Marked(worker_id))

    def clean_up_run(self, worker_id: str, run: str) -> list[str]:
        return end_marked(Marked(worker_id, run))

    def close(self) -> None:
        set_subreaper(on=False)


class SubreaperGroup(SearchedGroup):
    """The part of the worker's descendants that belongs to one run."""

    def search(self) -> set[int]:
        children = processes_by_parent()
        found: dict[int, Stat] = {}
        below = [stat for stat in children[os.getpid()] if self._is_ours(stat)]
        while below:
            stat = below.pop()
            found[stat.pid] = stat
            below += children[stat.pid]
        self.known |= found.keys()
        self._reap(found)
        return {stat.pid for stat in found.values() if stat.alive}

    def _is_ours(self, stat: Stat) -> bool:
        if not self.known.isdisjoint((stat.pid, stat.pgid, stat.session)):
            return True
        return stat.session != os.getsid(0) and has_variable(stat.pid, MARKER, self.marker)

    def _reap(self, found: dict[int, Stat]) -> None:
        """Reaps orphans that the worker has inherited. The first process is not one: its `Child` waits for it."""
        for stat in found.values():
            if not stat.alive and stat.parent == os.getpid() and stat.pid not in self.first:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(stat.pid, os.WNOHANG)


def set_subreaper(*, on: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(on), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
