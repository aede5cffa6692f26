"""ProcessGroup: everything that one command has started, however it hides, and how to end all of it.

This is the interface to the operating system. Of three ways, the best that works on this machine is used::

    cgroup      Linux, a writable control group: the kernel keeps the list; nothing escapes, killing is atomic
    subreaper   Linux: the worker inherits orphans, /proc says which process belongs to which
    portable    anywhere psutil runs: parents, sessions, POSIX process groups, and a marker in the environment

A POSIX process group is less than this: any process may leave it.

The methods block for well under a millisecond, those of `ProcessGroups` that clean up and `ProcessGroup.end` excepted,
which belong in a thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

from taskrunner.amounts import Amounts
from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner_process.groups.run_limit import RunLimit

MARKER = "TASKRUNNER_RUN"
"""The environment variable that says to which run, of which worker, a process belongs: `<task>/<run>@<owner>`."""

KILL_TIME = 15.0
"""Seconds that killed processes get to vanish. What is still there then waits in the kernel for a device or a network
file system and obeys no signal; ordinary exits take milliseconds, and dumping a large core a few seconds."""


UNLIMITED = RunLimit()


class ProcessGroup(ABC):
    """The processes of one command. Two threads may end it at the same time; all else is done by one at a time."""

    starts_stopped: bool = False
    """Whether the first process must be stopped before it does anything, until `add` has put it into the group."""

    def entered(self) -> AbstractContextManager[bool]:
        """For a thread that is about to start the first process. True: what it starts meanwhile is born in the group,
        and need not be added. Raises OSError.
        """
        return nullcontext(False)

    @abstractmethod
    def add(self, pid: int) -> None:
        """Puts the first process into the group. It leads a session of its own. Raises OSError."""

    def first_exited(self, reap: Callable[[], object]) -> None:
        """The first process is a zombie, until `reap` is called: at once (the default), or at the latest by `close`,
        when the group must know its number from that of another process. Called once, from any thread."""
        reap()

    def known_empty(self) -> bool:
        """Whether it is certain, without a search, that nothing of it is alive."""
        return False

    @abstractmethod
    def end(self, limit: float = KILL_TIME) -> None:
        """Kills whatever is alive, and returns when nothing is. Blocks; may be called again.

        Raises: TaskFailedInternally after `limit` seconds, naming the processes that do not die.
        """

    def close(self) -> None:  # noqa: B027  most have nothing to release
        """Releases what the group itself took from the system, when it has ended. May be called again."""


class ProcessGroups(ABC):
    """Opens the groups of one worker."""

    name: str

    @abstractmethod
    def open_group(self, run: str, limit: RunLimit = UNLIMITED) -> ProcessGroup:
        """An empty group. `run` is unique within this worker. `limit` is that of the run, which `new_limit` has
        returned. Raises OSError."""

    def new_limit(self, run: str, limits: Amounts) -> RunLimit:  # noqa: ARG002  for those that can
        """What keeps all groups of a run together to its memory, CPUs and processes. Makes nothing yet.

        Raises: Unavailable when that is not possible here (the default).
        """
        raise cannot_limit(limits, f"it keeps processes together by its {self.name}, not by control groups")

    @abstractmethod
    def clean_up_after(self, worker_id: str) -> list[str]:
        """Ends what another worker, which is dead, has left: a line for each process. Blocks.

        Raises: TaskFailedInternally when something is left, after all else was ended.
        """

    @abstractmethod
    def clean_up_run(self, worker_id: str, run: str) -> list[str]:
        """The same for one run of a worker, which may be alive. Its name is that of `open_group`."""

    def close(self) -> None:  # noqa: B027  most have nothing to release
        """Releases everything; every group has ended."""


def cannot_limit(limits: Amounts, why: object) -> Unavailable:
    """The error for a run that must not run without its limits."""
    names = ", ".join(f"resources.{name}" for name in limits.items)
    return Unavailable(f"{names}: this worker cannot limit processes: {why}")


def unkillable(pids: Iterable[int], limit: float) -> TaskFailedInternally:
    """The error for processes that outlive SIGKILL."""
    names = ", ".join(map(str, sorted(pids)))
    return TaskFailedInternally(
        f"killed, but still there after {limit:g} s: process {names}. It waits in the kernel for a device or a network "
        "file system; look at /proc/<pid>/stack, and restart the machine if it stays"
    )
