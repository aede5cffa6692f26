"""Limits by control groups of version 2: one group around those of a run's commands."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from taskrunner.amounts import Amounts
from taskrunner_process.groups.cgroup_files import around_name, remove_group
from taskrunner_process.groups.run_limit import RunLimit, memory_story, number_in

PERIOD = 100_000
"""Microseconds, the kernel's default: how often the time of the processors is given out."""


class LimitV2(RunLimit):
    """Lies in a group that has no process of its own, and whose children have the controllers that are needed."""

    def __init__(self, run: str, limits: Amounts, of_worker: Path) -> None:
        self._limits = limits
        self._group = self.around = of_worker / around_name(run)

    def make(self) -> None:
        self._group.parent.mkdir(exist_ok=True)
        (self._group.parent / "cgroup.subtree_control").write_text(enabling(controllers(self._limits)))
        self._group.mkdir(exist_ok=True)
        if self._limits.memory:
            (self._group / "memory.max").write_text(str(self._limits.memory))
            if (swap := self._group / "memory.swap.max").exists():
                swap.write_text("0")
        if self._limits.cpus:
            (self._group / "cpu.max").write_text(f"{round(self._limits.cpus * PERIOD)} {PERIOD}")
        if self._limits.pids:
            (self._group / "pids.max").write_text(str(self._limits.pids))

    def out_of_memory(self) -> str:
        """`memory.peak` is there since Linux 5.19; before, the limit is known to have been reached."""
        if not self._limits.memory or not number_in(self._group / "memory.events", "oom_kill"):
            return ""
        return memory_story(self._limits.memory, number_in(self._group / "memory.peak") or self._limits.memory)

    def close(self) -> None:
        remove_group(self._group)


def controllers(limits: Amounts) -> list[str]:
    """The controllers that these limits need."""
    needed = {"memory": limits.memory, "cpu": limits.cpus, "pids": limits.pids}
    return [name for name, amount in needed.items() if amount]


def enabling(names: list[str]) -> str:
    return " ".join(f"+{name}" for name in names)


def find_base(own: Path, names: list[str]) -> Path:
    """Where a group with these controllers can be made: in the worker's own, if that is the root, or beside it, if
    systemd has delegated the group above (`Delegate=yes` with `DelegateSubgroup=`). Elsewhere the kernel refuses: a
    group with processes of its own hands no controllers down. Raises LookupError."""
    for base in _candidates(own):
        with contextlib.suppress(OSError):
            (base / "cgroup.subtree_control").write_text(enabling(names))
            return base
    raise LookupError(
        "no delegated control group of version 2 (run the worker by a systemd unit with Delegate=yes and "
        "DelegateSubgroup=worker)"
    )


def _candidates(own: Path) -> Iterator[Path]:
    yield own
    with contextlib.suppress(OSError, AttributeError):
        if os.getxattr(own.parent, "user.delegate") == b"1":
            yield own.parent
