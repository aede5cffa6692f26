"""All processes of a user account that a run had for itself."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from taskrunner_process.groups.foreign import FOREIGN
from taskrunner_process.groups.process_group import KILL_TIME
from taskrunner_process.groups.search import SearchedGroup


class AccountProcesses(SearchedGroup):
    """Whatever runs as this user, wherever it came from. What has become another user is not among it: a set-user-id
    program, which the group of its command ends."""

    def __init__(self, uid: int) -> None:
        super().__init__("")
        self._uid = uid

    def end(self, limit: float = KILL_TIME) -> None:
        FOREIGN.end_all(self._uid)
        super().end(limit)

    def search(self) -> set[int]:
        if not Path("/proc/self/status").exists():
            return _by_psutil(self._uid)
        return {int(name) for name in os.listdir("/proc") if name.isdigit() and self._is_ours(name)}  # noqa: PTH208  names are enough

    def _is_ours(self, pid: str) -> bool:
        """About 15 µs. The real and the effective user count; a zombie does not."""
        try:
            text = Path("/proc", pid, "status").read_bytes()
        except OSError:
            return False
        real, effective = text.partition(b"\nUid:")[2].split(maxsplit=2)[:2]
        state = text.partition(b"\nState:")[2].split(maxsplit=1)[0]
        return self._uid in {int(real), int(effective)} and state not in {b"Z", b"X"}


def _by_psutil(uid: int) -> set[int]:
    found = set()
    for process in psutil.process_iter(["uids", "status"]):
        uids = process.info["uids"]
        if uids and uid in {uids.real, uids.effective} and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.add(process.pid)
    return found
