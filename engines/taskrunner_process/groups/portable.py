"""Any system: psutil reads parents, sessions, POSIX process groups and environments.

A process escapes when it does all of this before a search sees it: it starts a session of its own, loses its parent,
and was given an environment without the marker. macOS has no way to close that gap.
"""

from __future__ import annotations

import os

import psutil

from taskrunner.errors import TaskFailedInternally
from taskrunner_process.groups.process_group import MARKER, ProcessGroup, ProcessGroups
from taskrunner_process.groups.search import SearchedGroup


class PortableGroups(ProcessGroups):
    """Needs nothing but psutil."""

    name = "portable"

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id

    def open_group(self, run: str) -> ProcessGroup:
        return PortableGroup(f"{run}@{self._worker_id}")

    def clean_up_after(self, worker_id: str) -> list[str]:
        return end_abandoned(worker_id)


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
        return process.environ().get(MARKER) == self.marker


class AbandonedGroup(PortableGroup):
    """All runs of a dead worker."""

    def _is_marked(self, process: psutil.Process) -> bool:
        return process.environ().get(MARKER, "").endswith(self.marker)


def end_abandoned(worker_id: str) -> list[str]:
    """Kills whatever carries the marker of a dead worker, with all relations: a line for each process."""
    group = AbandonedGroup(f"@{worker_id}")
    found = sorted(group.search())
    try:
        group.end()
    except TaskFailedInternally as error:
        return [f"process {pid}" for pid in found] + [str(error)]
    return [f"process {pid}" for pid in found]
