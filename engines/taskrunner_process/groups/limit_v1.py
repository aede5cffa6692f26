"""Limits by control groups of version 1, where each controller has a hierarchy of its own.

Memory and CPUs: one group for the run in each of the two hierarchies, which all its commands enter. Processes: a group
around those that keep the commands together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from taskrunner.amounts import Amounts
from taskrunner_process.groups.cgroup_files import (
    around_name,
    find_hierarchy,
    kernel_name,
    move_thread,
    remove_group,
)
from taskrunner_process.groups.run_limit import RunLimit, memory_story, number_in

CONTROLLERS = ("memory", "cpu")
"""Those with a hierarchy of their own, beside `pids`."""

PERIOD = 100_000
"""Microseconds, the kernel's default: how often the time of the processors is given out."""


@attrs.frozen
class JoinedGroup:
    """The group of a run in one hierarchy, and the group where the worker itself is."""

    folder: Path
    outside: Path


class LimitV1(RunLimit):
    """Needs the hierarchies of what it limits."""

    def __init__(self, run: str, limits: Amounts, of_worker: Path, own: Mapping[str, Path]) -> None:
        """`of_worker` is the group of the groups of runs; `own` is where the worker is itself, by controller."""
        self._limits = limits
        self.around = of_worker / around_name(run) if limits.pids else None
        self._joined = {
            name: JoinedGroup(folder / of_worker.name / kernel_name(run), folder) for name, folder in own.items()
        }

    def make(self) -> None:
        for group in self._joined.values():
            group.folder.mkdir(parents=True, exist_ok=True)
        if self.around:
            self.around.mkdir(exist_ok=True)
            (self.around / "pids.max").write_text(str(self._limits.pids))
        if self._limits.memory:
            folder = self._joined["memory"].folder
            (folder / "memory.limit_in_bytes").write_text(str(self._limits.memory))
            if (swap := folder / "memory.memsw.limit_in_bytes").exists():
                swap.write_text(str(self._limits.memory))
        if self._limits.cpus:
            (self._joined["cpu"].folder / "cpu.cfs_period_us").write_text(str(PERIOD))
            (self._joined["cpu"].folder / "cpu.cfs_quota_us").write_text(str(round(self._limits.cpus * PERIOD)))

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The thread that starts a command is in the groups meanwhile, and counts as one more process there."""
        with contextlib.ExitStack() as leaving:
            if self.around and self._limits.pids:
                leaving.callback((self.around / "pids.max").write_text, str(self._limits.pids))
                (self.around / "pids.max").write_text(str(self._limits.pids + 1))
            for group in self._joined.values():
                move_thread(group.folder)
                leaving.callback(move_thread, group.outside)
            yield

    def out_of_memory(self) -> str:
        if not self._limits.memory:
            return ""
        folder = self._joined["memory"].folder
        if not number_in(folder / "memory.oom_control", "oom_kill"):
            return ""
        return memory_story(self._limits.memory, number_in(folder / "memory.max_usage_in_bytes"))

    def close(self) -> None:
        for group in self._joined.values():
            remove_group(group.folder)
        if self.around:
            remove_group(self.around)


def own_groups(limits: Amounts) -> dict[str, Path]:
    """The worker's own group in the hierarchy of each controller that is needed. Raises LookupError, OSError."""
    needed = [name for name, amount in (("memory", limits.memory), ("cpu", limits.cpus)) if amount]
    return {name: find_hierarchy(1, name)[1] for name in needed}
