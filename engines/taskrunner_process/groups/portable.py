"""Any system: psutil reads parents, sessions, POSIX process groups and environments.

A process escapes when it does all of this before a search sees it: it starts a session of its own, loses its parent,
and was given an environment without the marker. macOS has no way to close that gap.
"""

from __future__ import annotations

import os

import attrs
import psutil

from taskrunner_process.groups.foreign import FOREIGN
from taskrunner_process.groups.process_group import MARKER, UNLIMITED, ProcessGroup, ProcessGroups
from taskrunner_process.groups.run_limit import RunLimit
from taskrunner_process.groups.search import SearchedGroup


class PortableGroups(ProcessGroups):
    """Needs nothing but psutil."""

    name = "portable"

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id

    def open_group(self, run: str, limit: RunLimit = UNLIMITED) -> ProcessGroup:  # noqa: ARG002  there is none
        return PortableGroup(f"{run}@{self._worker_id}")

    def clean_up_after(self, worker_id: str) -> list[str]:
        return end_marked(Marked(worker_id))

    def clean_up_run(self, worker_id: str, run: str) -> list[str]:
        return end_marked(Marked(worker_id, run))


class PortableGroup(SearchedGroup):
    """One run's processes, by their marker and their relations."""

    def search(self) -> set[int]:
        return self._closure([process for process in psutil.process_iter() if process.pid != os.getpid()])

    def _closure(self, processes: list[psutil.Process]) -> set[int]:
        """Everything related to what is known, until a round adds nothing: a child may be listed before its parent."""
        alive: set[int] = set()
        while found := {process for process in processes if process.pid not in alive and self._is_ours(process)}:
            alive |= {process.pid for process in found}
            self.known |= alive
        return alive

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            with process.oneshot():
                if process.status() == psutil.STATUS_ZOMBIE:
                    return False
                relations = (process.pid, process.ppid(), os.getsid(process.pid), os.getpgid(process.pid))
                return not self.known.isdisjoint(relations) or self._is_marked(process)
        except (psutil.Error, OSError):
            return False

    def _is_marked(self, process: psutil.Process) -> bool:
        return _marker(process) == self.marker


def _marker(process: psutil.Process) -> str:
    """Empty without one. Raises psutil.Error."""
    try:
        return process.environ().get(MARKER, "")
    except psutil.AccessDenied:
        return FOREIGN.variable(process.pid, MARKER)


@attrs.frozen
class Marked:
    """Whose marker it is: that of any run of a worker, or of one run and its further commands."""

    worker_id: str
    run: str = ""

    def __call__(self, marker: str) -> bool:
        run, _, worker_id = marker.rpartition("@")
        return worker_id == self.worker_id and (not self.run or run.partition("+")[0] == self.run)


class AbandonedGroup(PortableGroup):
    """Processes that nobody has a group for any more."""

    def __init__(self, marked: Marked) -> None:
        super().__init__(f"{marked.run}@{marked.worker_id}")
        self._marked = marked

    def _is_marked(self, process: psutil.Process) -> bool:
        return self._marked(_marker(process))


def end_marked(marked: Marked) -> list[str]:
    """Kills whatever carries a marker, with all relations: a line for each process.

    Raises: TaskFailedInternally when something does not die.
    """
    group = AbandonedGroup(marked)
    found = sorted(group.search())
    group.end()
    return [f"process {pid}" for pid in found]
