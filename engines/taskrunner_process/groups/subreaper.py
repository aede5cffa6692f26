"""Linux without control groups: the worker becomes the parent of every orphan, and /proc tells who is whose.

As a subreaper the worker inherits what a run leaves behind when it forks twice: all processes of all runs are its
descendants. A direct child belongs to a run when its session, process group or marker says so, or when it was seen in
that run before. What escapes is a process that does all of this before anybody looks: it starts a session of its own,
loses its parent, and was given an environment without the marker. Control groups do not have this gap.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections import defaultdict
from pathlib import Path

import attrs

from taskrunner_process.groups.group import MARKER, ProcessGroup, ProcessGroups
from taskrunner_process.groups.portable import end_abandoned
from taskrunner_process.groups.search import SearchedGroup

PR_SET_CHILD_SUBREAPER = 36
"""From <linux/prctl.h>; since Linux 3.4."""


@attrs.frozen
class Stat:
    """One process in /proc."""

    pid: int
    state: str
    parent: int
    group: int
    session: int

    @property
    def alive(self) -> bool:
        return self.state not in "ZX"


class SubreaperGroups(ProcessGroups):
    """Makes the worker a subreaper for as long as it is open."""

    name = "subreaper"

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id
        set_subreaper(on=True)

    def open_group(self, run: str) -> ProcessGroup:
        return SubreaperGroup(f"{run}@{self._worker_id}")

    def clean_up_after(self, worker_id: str) -> list[str]:
        return end_abandoned(worker_id)

    def close(self) -> None:
        set_subreaper(on=False)


class SubreaperGroup(SearchedGroup):
    """The part of the worker's descendants that belongs to one run."""

    def __init__(self, marker: str) -> None:
        super().__init__(marker)
        self._leaders: set[int] = set()

    def admit(self, pid: int) -> None:
        super().admit(pid)
        self._leaders.add(pid)

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
        if not self.known.isdisjoint((stat.pid, stat.group, stat.session)):
            return True
        return stat.session != os.getsid(0) and has_marker(stat.pid, self.marker)

    def _reap(self, found: dict[int, Stat]) -> None:
        """Orphans that have come to us; the first process is waited for by whoever started it."""
        for stat in found.values():
            if not stat.alive and stat.parent == os.getpid() and stat.pid not in self._leaders:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(stat.pid, os.WNOHANG)


def processes_by_parent() -> defaultdict[int, list[Stat]]:
    """All processes of this machine, by their parent. About 12 µs for each."""
    children: defaultdict[int, list[Stat]] = defaultdict(list)
    for name in os.listdir("/proc"):  # noqa: PTH208  in the hot path, where names are enough
        if name.isdigit() and (stat := read_stat(name)):
            children[stat.parent].append(stat)
    return children


def read_stat(pid: str) -> Stat | None:
    """What /proc says about a process; None when it is gone."""
    try:
        text = Path("/proc", pid, "stat").read_bytes()
    except OSError:
        return None
    # The name stands in parentheses and may hold anything, further parentheses included.
    state, parent, group, session = text[text.rindex(b")") + 2 :].split(maxsplit=4)[:4]
    return Stat(int(pid), state.decode(), int(parent), int(group), int(session))


def has_marker(pid: int, marker: str) -> bool:
    try:
        return f"{MARKER}={marker}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def set_subreaper(*, on: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(on), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
