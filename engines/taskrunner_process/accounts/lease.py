"""Which account a run gets: none, one that all runs share, or one of several for itself alone.

An account of its own is locked for as long as a run has it, on the whole machine, by a file in LOCKS. Whatever runs as
that user is ended before and after: so no run sees processes of another one, nor what these left running.
"""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally, local_failure
from taskrunner.files.file_lock import try_lock
from taskrunner_process.accounts.account import Account
from taskrunner_process.groups.of_account import AccountProcesses
from taskrunner_process.groups.process_group import KILL_TIME

LOCKS = Path("/var/run/taskrunner-accounts")
"""One file for each user id. Only root can make one."""

OWN_LOCKS = ".taskrunner-accounts"
"""The same for a worker that is not root, in its user's home: no other user may become these accounts."""

INTERVAL = 0.2
"""Seconds between two tries to get an account: the lock of a file gives no notice."""

END_TIME = 3 * KILL_TIME
"""Seconds to end what runs as an account."""


@attrs.define
class AccountLease:
    """What a run has of an account."""

    account: Account | None = None
    _lock: int = -1

    async def release(self) -> None:
        """Every process of the run is to be over. Ends what still runs as an account of its own. A second call does
        nothing.

        Raises: TaskFailedInternally when something cannot be ended: then no other run gets the account.
        """
        if self._lock < 0:
            return
        if self.account:
            await _ending(AccountProcesses(self.account.uid).end)
        self.close()

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@attrs.frozen
class Accounts:
    """The accounts of one platform."""

    own: Sequence[Account] = ()
    """Each run has one of these."""
    shared: Account | None = None
    """All runs have this one."""

    @property
    def all(self) -> tuple[Account, ...]:
        return (*self.own, *([self.shared] if self.shared else []))

    @property
    def by_sudo(self) -> tuple[Account, ...]:
        """Those that the worker becomes by sudo."""
        return tuple(account for account in self.all if account.sudo)

    @property
    def uids(self) -> frozenset[int]:
        return frozenset(account.uid for account in self.all)

    async def lease(self, say: Callable[[str], None]) -> AccountLease:
        """Waits until an account is free; `say` tells so. Raises TaskFailedInternally."""
        if not self.own:
            return AccountLease(self.shared)
        waited = False
        while (lease := await self._try()) is None:
            if not waited:
                say("every account of [process] users is in use: waiting for one")
            waited = True
            await asyncio.sleep(INTERVAL)
        return lease

    async def _try(self) -> AccountLease | None:
        return await run_blocking(
            self._lock_one,
            limit=END_TIME,
            doing="finding a free account",
            discard=_close_late,
            error=TaskFailedInternally,
        )

    def _lock_one(self) -> AccountLease | None:
        """Raises TaskFailedInternally when what runs as the only free ones cannot be ended."""
        problem: TaskFailedInternally | None = None
        for account in self.own:
            if (lock := _lock(account.uid)) < 0:
                continue
            try:
                AccountProcesses(account.uid).end()
            except TaskFailedInternally as error:
                os.close(lock)
                problem = error
            else:
                return AccountLease(account, lock)
        if problem:
            raise problem
        return None


def _close_late(late: AccountLease | None) -> None:
    if late:
        late.close()


async def _ending(work: Callable[[], None]) -> None:
    await run_blocking(work, limit=END_TIME, doing="ending the processes of an account", error=TaskFailedInternally)


def _lock(uid: int) -> int:
    """The open file with the lock on it; -1 when another run has the account. Raises TaskFailedInternally."""
    folder = LOCKS if os.geteuid() == 0 else Path(pwd.getpwuid(os.geteuid()).pw_dir, OWN_LOCKS)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        file = os.open(folder / f"{uid}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise local_failure(f"{folder} cannot be used to lock accounts: {error.strerror}", error) from error
    if try_lock(file):
        return file
    os.close(file)
    return -1
