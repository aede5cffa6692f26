"""Linux control groups: the kernel keeps the list of a run's processes; a child is born into its parent's group.

In version 1 the `pids` controller first forbids the group to fork, then each process is killed. Version 2 has a file
that kills a whole group at once (Linux 5.14). A run that is root can leave its group; give it a `user`.

A worker's groups lie below the one that it is in itself: `taskrunner.<worker>/<run>`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from taskrunner.errors import TaskFailedInternally
from taskrunner_process.groups.group import KILL_TIME, ProcessGroup, ProcessGroups, unkillable
from taskrunner_process.groups.portable import end_abandoned
from taskrunner_process.groups.search import FIRST_PAUSE, LONGEST_PAUSE, send
from taskrunner_process.groups.subreaper import read_stat

LONGEST_NAME = 200
"""Characters of a group's name, of which the kernel allows 255."""


class ControlGroups(ProcessGroups):
    """One hierarchy of control groups that this worker may write to."""

    def __init__(self, root: Path, own: Path, worker_id: str, *, version: int) -> None:
        self.name = f"cgroup-v{version}"
        self._root, self._own, self._version = root, own, version
        self._folder = own / group_of(worker_id)
        self._folder.mkdir(exist_ok=True)

    def open_group(self, run: str) -> ProcessGroup:
        return self._open(self._folder / label(run))

    def _open(self, folder: Path) -> ControlGroup:
        return ControlGroup(folder) if self._version == 2 else ThreadedControlGroup(folder, self._own)  # noqa: PLR2004  the version's name

    def clean_up_after(self, worker_id: str) -> list[str]:
        """That worker may have lived in another group than ours, so the whole hierarchy is searched for its own."""
        lines: list[str] = []
        for folder in list(self._root.rglob(group_of(worker_id))):
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

    def admit(self, pid: int) -> None:
        """Makes the group only now: the kernel lets nobody make one while another process is being moved, so that it
        may take a while, and whoever admits can wait."""
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
                self._strike(alive)
            if time.monotonic() > give_up:
                raise unkillable(alive, limit)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _strike(self, alive: set[int]) -> None:  # noqa: ARG002  the kernel knows them
        (self._folder / "cgroup.kill").write_text("1")

    def close(self) -> None:
        remove_group(self._folder)


class ThreadedControlGroup(ControlGroup):
    """A group of the version 1 `pids` hierarchy, where each thread of a process may be in another group.

    So the one that starts a run's first process enters the group for as long as that takes, and the process is born
    there. That takes no shell to hold it back, and a thread that moves itself needs none of the kernel's locks, which
    moving another process does: half a millisecond less for each.
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
        return super().pids() - {os.getpid()}  # a thread of ours may be about to start the first

    def _strike(self, alive: set[int]) -> None:
        """From here on nothing in the group can fork, so the list only gets shorter."""
        (self._folder / "pids.max").write_text("0")
        send(alive, signal.SIGKILL)


def open_cgroups(worker_id: str) -> Iterator[ProcessGroups]:
    """Each hierarchy that lets us make a group, and has what it takes to end one.

    Where there are both, version 1 starts a process faster (see `ThreadedControlGroup`), and ends it as surely.
    """
    for version, back, wanted in ((1, "tasks", "pids.max"), (2, "", "cgroup.kill")):
        with contextlib.suppress(OSError, LookupError):
            root, own = hierarchy(version)
            if os.access(own / back, os.W_OK) and works(
                own / group_of(f"probe of {worker_id} by {os.getpid()}"), wanted
            ):
                yield ControlGroups(root, own, worker_id, version=version)


def works(probe: Path, wanted: str) -> bool:
    probe.mkdir()
    try:
        return os.access(probe / wanted, os.W_OK)
    finally:
        probe.rmdir()


def hierarchy(version: int) -> tuple[Path, Path]:
    """Where a hierarchy is mounted, and our own group in it. Raises LookupError."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.split(" ", 2)
        if kind == ("cgroup2" if version == 2 else "cgroup") and (version == 2 or "pids" in options.split(",")):  # noqa: PLR2004  the version's name
            _, _, _, base, point = mount.split(" ")[:5]
            inside = os.path.relpath(own_group(version), base)
            return Path(point), Path(point) if inside.startswith("..") else Path(point, inside)
    raise LookupError(f"no control groups of version {version}")


def own_group(version: int) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if (version == 2 and not controllers) or (version == 1 and "pids" in controllers.split(",")):  # noqa: PLR2004  the version's name
            return path
    raise LookupError(f"this process is in no control group of version {version}")


def move_thread(group: Path) -> None:
    """Moves the calling thread into a group of version 1. Raises OSError."""
    file = os.open(group / "tasks", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, b"0")  # whoever writes
    finally:
        os.close(file)


def read_start(path: Path) -> bytes:
    """Some bytes, if it has any. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, 64)
    finally:
        os.close(file)


def subgroups(folder: Path) -> list[Path]:
    try:
        return [child for child in folder.iterdir() if child.is_dir()]
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def gone_is_empty() -> Iterator[None]:
    """Lets pass that a group was removed meanwhile, by somebody else who ended it: only an empty one can be."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENODEV}:
            raise


def still_there(pids: set[int]) -> set[int]:
    """Those that are not even zombies. A process leaves the list of its group a moment before its end can be seen."""
    return {pid for pid in pids if (found := read_stat(str(pid))) and found.alive}


def remove_group(folder: Path) -> None:
    """Removes an empty group. What stays is empty, and goes with the next clean-up."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def group_of(worker_id: str) -> str:
    return f"taskrunner.{label(worker_id)}"


def label(text: str) -> str:
    """A name that the kernel takes for a group: no slash, not too long, and different for different texts."""
    name = "r" + quote(text, safe="")
    return name if len(name) <= LONGEST_NAME else "h" + hashlib.sha256(text.encode()).hexdigest()
