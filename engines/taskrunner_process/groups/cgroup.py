"""Linux control groups: the kernel keeps the list of a run's processes; a child is born into its parent's group.

In version 1 the `pids` controller first forbids the group to fork, then each process is killed. Version 2 has a file
that kills a whole group at once (Linux 5.14). A run that is root can leave its group; give it a `user`.

A worker's groups lie below the one that it is in itself: `taskrunner.<worker>/<run>`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from taskrunner.errors import TaskFailedInternally
from taskrunner_process.groups.cgroup_files import (
    find_hierarchy,
    gone_is_empty,
    group_name,
    is_writable,
    kernel_name,
    move_thread,
    read_start,
    remove_group,
    subgroups,
)
from taskrunner_process.groups.portable import end_abandoned
from taskrunner_process.groups.proc import read_stat
from taskrunner_process.groups.process_group import KILL_TIME, ProcessGroup, ProcessGroups, unkillable
from taskrunner_process.groups.search import FIRST_PAUSE, LONGEST_PAUSE, send


class ControlGroups(ProcessGroups):
    """One hierarchy of control groups that this worker may write to."""

    def __init__(self, root: Path, own: Path, worker_id: str, *, version: int) -> None:
        self.name = f"cgroup-v{version}"
        self._root, self._own, self._version = root, own, version
        self._folder = own / group_name(worker_id)
        self._folder.mkdir(exist_ok=True)

    def open_group(self, run: str) -> ProcessGroup:
        return self._open(self._folder / kernel_name(run))

    def _open(self, folder: Path) -> ControlGroup:
        return ControlGroup(folder) if self._version == 2 else ThreadedControlGroup(folder, self._own)  # noqa: PLR2004  the version's name

    def clean_up_after(self, worker_id: str) -> list[str]:
        """The dead worker may have lived in another group than this one, so the whole hierarchy is searched."""
        lines: list[str] = []
        for folder in list(self._root.rglob(group_name(worker_id))):
            lines += [line for child in subgroups(folder) for line in self._end_abandoned(child)]
            remove_group(folder)
        return lines + end_abandoned(worker_id)

    def _end_abandoned(self, folder: Path) -> list[str]:
        group = self._open(folder)
        lines = [f"process {pid}" for pid in group.pids()]
        try:
            group.end()
        except (OSError, TaskFailedInternally) as error:
            return [*lines, f"control group {folder} could not be removed: {error}"]
        group.close()
        return lines

    def close(self) -> None:
        remove_group(self._folder)


class ControlGroup(ProcessGroup):
    """A group of version 2."""

    starts_stopped = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, pid: int) -> None:
        """Makes the group only now: the kernel makes none while it moves another process, so that it may take a while,
        and `add` is called in a thread, unlike `open_group`."""
        self._folder.mkdir(exist_ok=True)
        (self._folder / "cgroup.procs").write_text(str(pid))

    def pids(self) -> set[int]:
        with gone_is_empty():
            return {int(line) for line in (self._folder / "cgroup.procs").read_text().split()}
        return set()

    def known_empty(self) -> bool:
        with gone_is_empty():
            return read_start(self._folder / "cgroup.procs") == b""
        return True

    def end(self, limit: float = KILL_TIME) -> None:
        give_up = time.monotonic() + limit
        pause = FIRST_PAUSE
        seen: set[int] = set()
        while alive := self.pids() | still_there(seen):
            seen |= alive
            with gone_is_empty():
                self._kill(alive)
            if time.monotonic() > give_up:
                raise unkillable(alive, limit)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _kill(self, alive: set[int]) -> None:  # noqa: ARG002  the kernel knows them
        (self._folder / "cgroup.kill").write_text("1")

    def close(self) -> None:
        remove_group(self._folder)


class ThreadedControlGroup(ControlGroup):
    """A group of the version 1 `pids` hierarchy, where each thread of a process may be in another group.

    So the thread that starts a run's first process enters the group for as long as that takes, and the process is born
    there. No shell has to stop it first, and a thread that moves itself needs none of the kernel's locks, which moving
    another process does: half a millisecond less for each.
    """

    starts_stopped = False

    def __init__(self, folder: Path, outside: Path) -> None:
        super().__init__(folder)
        self._outside = outside

    @contextlib.contextmanager
    def entered(self) -> Iterator[bool]:
        self._folder.mkdir(exist_ok=True)
        move_thread(self._folder)
        try:
            yield True
        finally:
            move_thread(self._outside)

    def pids(self) -> set[int]:
        return super().pids() - {os.getpid()}  # a thread of the worker may be about to start the first process

    def _kill(self, alive: set[int]) -> None:
        """All are stopped first: a shell whose child is killed would go on, fail to fork, and exit by itself. Then
        nothing in the group can fork any more, so the list only gets shorter."""
        send(alive, signal.SIGSTOP)
        (self._folder / "pids.max").write_text("0")
        send(alive, signal.SIGKILL)


def open_cgroups(worker_id: str) -> Iterator[ProcessGroups]:
    """Each hierarchy in which the worker can make a group, and which has the file that ends one.

    Where there are both, version 1 starts a process faster (see `ThreadedControlGroup`), and ends it as surely.
    """
    for version, back, wanted in ((1, "tasks", "pids.max"), (2, "", "cgroup.kill")):
        with contextlib.suppress(OSError, LookupError):
            root, own = find_hierarchy(version)
            probe = own / group_name(f"probe of {worker_id} by {os.getpid()}")
            if os.access(own / back, os.W_OK) and is_writable(probe, wanted):
                yield ControlGroups(root, own, worker_id, version=version)


def still_there(pids: set[int]) -> set[int]:
    """Those that are not even zombies. A process leaves the list of its group a moment before its end can be seen."""
    return {pid for pid in pids if (found := read_stat(str(pid))) and found.alive}
