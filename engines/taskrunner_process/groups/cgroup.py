"""Linux control groups: the kernel keeps the list of a run's processes; a child is born into its parent's group.

In version 1 the `pids` controller first forbids the group to fork, then each process is killed. Version 2 has a file
that kills a whole group at once (Linux 5.14). A run that is root can leave its group; give it a `user`.

A worker's groups lie below the one that it is in itself: `taskrunner.<worker>/<run>`. Those of a run with limits have
another group around them; in version 1 the run has groups in the hierarchies of memory and CPUs as well.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from taskrunner.amounts import Amounts
from taskrunner.errors import TaskFailedInternally
from taskrunner_process.groups.cgroup_files import (
    around_name,
    find_groups,
    find_hierarchy,
    gone_is_empty,
    group_name,
    groups_below,
    is_writable,
    kernel_name,
    move_thread,
    read_start,
    remove_group,
)
from taskrunner_process.groups.limit_v1 import CONTROLLERS, LimitV1, own_groups
from taskrunner_process.groups.limit_v2 import LimitV2, controllers, find_base
from taskrunner_process.groups.portable import Marked, end_marked
from taskrunner_process.groups.proc import read_stat
from taskrunner_process.groups.process_group import (
    KILL_TIME,
    UNLIMITED,
    ProcessGroup,
    ProcessGroups,
    cannot_limit,
    unkillable,
)
from taskrunner_process.groups.run_limit import RunLimit
from taskrunner_process.groups.search import FIRST_PAUSE, LONGEST_PAUSE, send


class ControlGroups(ProcessGroups):
    """One hierarchy of control groups that this worker may write to."""

    def __init__(self, root: Path, own: Path, worker_id: str, *, version: int) -> None:
        self.name = f"cgroup-v{version}"
        self._root, self._own, self._version, self._worker_id = root, own, version, worker_id
        self._folder = own / group_name(worker_id)
        self._folder.mkdir(exist_ok=True)

    def open_group(self, run: str, limit: RunLimit = UNLIMITED) -> ProcessGroup:
        return self._open((limit.around or self._folder) / kernel_name(run), limit)

    def _open(self, folder: Path, limit: RunLimit = UNLIMITED) -> ControlGroup:
        return ControlGroup(folder) if self._version == 2 else ThreadedControlGroup(folder, self._own, limit)  # noqa: PLR2004  the version's name

    def new_limit(self, run: str, limits: Amounts) -> RunLimit:
        try:
            if self._version == 1:
                return LimitV1(run, limits, self._folder, own_groups(limits))
            return LimitV2(run, limits, find_base(self._own, controllers(limits)) / self._folder.name)
        except (OSError, LookupError) as error:
            raise cannot_limit(limits, error) from None

    def clean_up_after(self, worker_id: str) -> list[str]:
        """The dead worker may have lived in another group than this one, so the whole hierarchy is searched."""
        folders = find_groups(self._root, group_name(worker_id))
        lines = self._end_all(child for folder in folders for child in groups_below(folder))
        for folder in self._all_groups(worker_id):
            remove_below(folder)
        return lines + end_marked(Marked(worker_id))

    def clean_up_run(self, worker_id: str, run: str) -> list[str]:
        own, around, further = kernel_name(run), around_name(run), kernel_name(f"{run}+")
        folders = [child for folder in find_groups(self._root, group_name(worker_id)) for child in groups_below(folder)]
        lines = self._end_all(each for each in folders if each.name in {own, around} or each.name.startswith(further))
        for folder in self._all_groups(worker_id):
            remove_group(folder / own)
        return lines + end_marked(Marked(worker_id, run))

    def _all_groups(self, worker_id: str) -> list[Path]:
        """All groups of a worker, also those where what it runs is only limited: other hierarchies of version 1, and in
        version 2 a group beside its own."""
        roots = [self._root]
        for controller in CONTROLLERS if self._version == 1 else ():
            with contextlib.suppress(LookupError):
                roots.append(find_hierarchy(1, controller)[0])
        return [folder for root in roots for folder in find_groups(root, group_name(worker_id))]

    def _end_all(self, folders: Iterable[Path]) -> list[str]:
        """Raises TaskFailedInternally with a line for each group that stays."""
        lines, problems = list[str](), list[str]()
        for folder in folders:
            group = self._open(folder)
            lines += [f"process {pid}" for pid in group.pids()]
            try:
                group.end()
            except (OSError, TaskFailedInternally) as error:
                problems.append(f"control group {folder} could not be removed: {error}")
            group.close()
        if problems:
            raise TaskFailedInternally("\n".join(problems))
        return lines

    def close(self) -> None:
        """A group of a run was busy, when it was empty already and should have gone: it goes now."""
        for folder in self._all_groups(self._worker_id):
            remove_below(folder)


def remove_below(folder: Path) -> None:
    """Removes a group and all in it, as far as they are empty."""
    for group in (*groups_below(folder), folder):
        remove_group(group)


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

    def __init__(self, folder: Path, outside: Path, limit: RunLimit = UNLIMITED) -> None:
        super().__init__(folder)
        self._outside, self._limit = outside, limit

    @contextlib.contextmanager
    def entered(self) -> Iterator[bool]:
        with self._limit.entered():
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
