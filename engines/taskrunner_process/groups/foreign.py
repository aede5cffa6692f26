"""Processes of other users: how a worker that is not root signals them, and reads what they were started with.

Which accounts a process may become by sudo belongs to the process, like its own user. So there is one `FOREIGN`, which
every group uses, also to end what a dead worker has left.
"""

from __future__ import annotations

import contextlib
import signal
from collections import defaultdict
from collections.abc import Iterable

import psutil

from taskrunner.errors import TaskFailedInternally
from taskrunner_process.sudo import Sudo

LIMIT = 10.0
"""Seconds to send a signal by sudo, which takes about 10 ms."""

SEND = 'number=$1; shift; kill -s "$number" -- "$@" 2>/dev/null || true'
"""A command of the shell: it needs no further process, of which the account may have none left."""

END_ALL = "kill -s KILL -1 2>/dev/null || true"
"""The kernel spares the shell that asks for it."""

VARIABLE = r"""tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | sed -n "s/^$2=//p" || true"""


class ForeignProcesses:
    """Those of the accounts that the worker may become. Of all others it can end none, and reads nothing."""

    def __init__(self) -> None:
        self._sudos: dict[int, Sudo] = {}

    def allow(self, uid: int, sudo: Sudo) -> None:
        """The worker may become this user."""
        self._sudos[uid] = sudo

    def send(self, pids: Iterable[int], number: signal.Signals) -> None:
        """Sends a signal to each that still exists. Blocks. Raises nothing: a search finds what is left."""
        if not self._sudos:
            return
        by_user: defaultdict[int, list[int]] = defaultdict(list)
        for pid in pids:
            with contextlib.suppress(psutil.Error, OSError):
                by_user[psutil.Process(pid).uids().real].append(pid)
        for uid, found in by_user.items():
            if sudo := self._sudos.get(uid):
                with contextlib.suppress(TaskFailedInternally, OSError):
                    sudo.run(SEND, LIMIT, number.name.removeprefix("SIG"), *map(str, found))

    def end_all(self, uid: int) -> None:
        """Kills whatever runs as an account, also what is hidden from the worker in /proc (`hidepid`, `ProtectProc=`).
        Nothing for one that the worker needs no sudo for. Blocks. Raises TaskFailedInternally."""
        if sudo := self._sudos.get(uid):
            sudo.run(END_ALL, LIMIT)

    def variable(self, pid: int, name: str) -> str:
        """The first line of a variable that it was started with; empty when that cannot be read. Blocks."""
        with contextlib.suppress(psutil.Error, OSError, TaskFailedInternally):
            if sudo := self._sudos and self._sudos.get(psutil.Process(pid).uids().real):
                return sudo.run(VARIABLE, LIMIT, str(pid), name).partition("\n")[0]
        return ""


FOREIGN = ForeignProcesses()
