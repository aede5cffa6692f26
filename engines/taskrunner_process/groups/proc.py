"""What Linux says of processes in /proc."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import attrs

from taskrunner_process.groups.foreign import FOREIGN


@attrs.frozen
class Stat:
    """One process in /proc."""

    pid: int
    state: str
    parent: int
    pgid: int
    """Its POSIX process group."""
    session: int

    @property
    def alive(self) -> bool:
        return self.state not in "ZX"


def processes_by_parent() -> defaultdict[int, list[Stat]]:
    """All processes of this machine, by their parent. About 12 µs for each."""
    children: defaultdict[int, list[Stat]] = defaultdict(list)
    for name in os.listdir("/proc"):  # noqa: PTH208  in the hot path, where names are enough
        if name.isdigit() and (stat := read_stat(name)):
            children[stat.parent].append(stat)
    return children


def read_stat(pid: str) -> Stat | None:
    """None when the process is gone."""
    try:
        text = Path("/proc", pid, "stat").read_bytes()
    except OSError:
        return None
    # The name stands in parentheses and may hold anything, further parentheses included.
    state, parent, pgid, session = text[text.rindex(b")") + 2 :].split(maxsplit=4)[:4]
    return Stat(int(pid), state.decode(), int(parent), int(pgid), int(session))


def has_variable(pid: int, name: str, value: str) -> bool:
    """Whether a process was started with this variable in its environment; False when that cannot be read."""
    try:
        return f"{name}={value}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except PermissionError:
        return FOREIGN.variable(pid, name) == value
    except OSError:
        return False
