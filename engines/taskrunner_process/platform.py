"""ProcessPlatform: tasks as processes of this machine.

For tasks that are trusted as much as the worker's own user, or as the accounts named by `[process] user` or `users`: a
process sees the machine. The promise is that nothing of a run is left when it is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Self

from taskrunner.blocking import run_blocking
from taskrunner.errors import Complaint, TaskFailedInternally, Unavailable
from taskrunner.files.plain_folder import PlainFolder
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.interfaces.platform import Platform, PlatformContext, RunContext
from taskrunner.model import RunKey
from taskrunner_process.accounts.account import account_of, accounts_of
from taskrunner_process.accounts.cache import AccountCache
from taskrunner_process.accounts.files import FILES_TIME
from taskrunner_process.accounts.given_folders import GivenFolders
from taskrunner_process.accounts.lease import AccountLease, Accounts
from taskrunner_process.engine import ProcessEngine
from taskrunner_process.groups.available import available_groups
from taskrunner_process.groups.foreign import FOREIGN
from taskrunner_process.groups.owner import owner_name
from taskrunner_process.groups.process_group import ProcessGroups
from taskrunner_process.launcher import Launcher
from taskrunner_process.payload import (
    ProcessOptions,
    ProcessPayload,
    ToolchainOptions,
    check_payload,
    toolchain_complaints,
)
from taskrunner_process.toolchains import Toolchains
from taskrunner_process.toolchains.commands import ToolCommands

CLEAN_UP_TIME = 60.0
"""Seconds to end what a dead worker has left: a few searches of /proc, and KILL_TIME for processes that hang."""


class ProcessPlatform(Platform[ProcessPayload, ProcessOptions]):
    """Runs the command of a task as a process."""

    name = "process"
    takes_source = True
    takes_stdin = True
    fills_stdin = ("stdin", "steps")
    keeps_limits = True
    payload = ProcessPayload
    options = ProcessOptions

    def __init__(
        self,
        context: PlatformContext,
        groups: ProcessGroups,
        accounts: Accounts | None,
        toolchains: Mapping[str, ToolchainOptions] | None = None,
    ) -> None:
        self._context, self._groups, self._accounts = context, groups, accounts or Accounts()
        self._owner = self._owner_of(context.worker_id)
        self._toolchains = Toolchains(toolchains or {}, ToolCommands(groups, self._owner, context.home))

    @classmethod
    async def open(cls, options: ProcessOptions, context: PlatformContext) -> Self:
        """Raises: ConfigError (the user is unknown, may not be used, or cannot reach the worker's home)."""
        accounts = Accounts(
            accounts_of(options.users, context.home),
            account_of(options.user, context.home, group=options.group) if options.user else None,
        )
        for account in accounts.all:
            if account.sudo:
                FOREIGN.allow(account.uid, account.sudo)
        groups = next(available_groups(owner_name(context.worker_id, context.home)))
        return cls(context, groups, accounts, options.toolchains)

    @classmethod
    def check_options(cls, options: ProcessOptions) -> Iterable[Complaint]:
        if options.user and options.users:
            yield Complaint("users", "stands beside `user`", "leave one of them out")
        if options.group and not options.user:
            yield Complaint("group", "stands without `user`", "name the user, or leave it out")
        yield from toolchain_complaints(options)

    @classmethod
    def check(cls, payload: ProcessPayload) -> None:
        check_payload(payload)

    async def new_engine(self, context: RunContext) -> ProcessEngine:
        given = GivenFolders(self._context.home, self._owner)
        launcher = Launcher(context, self._groups, AccountLease(), given)
        return ProcessEngine(launcher, self._accounts, self._owner, self._toolchains.require)

    def new_cache_folder(self, name: str, path: Path) -> CacheFolder:
        return AccountCache(name, path, self._accounts.by_sudo) if self._accounts.by_sudo else PlainFolder(name, path)

    async def clean_up_after(self, worker_id: str) -> list[str]:
        doing = f"ending the processes of worker {worker_id}"
        ended = await self._clean_up(partial(self._groups.clean_up_after, self._owner_of(worker_id)), doing)
        await self._empty_given(worker_id)
        return ended

    async def clean_up_run(self, worker_id: str, run: RunKey) -> list[str]:
        doing = f"ending the processes of {run}"
        ended = await self._clean_up(partial(self._groups.clean_up_run, self._owner_of(worker_id), str(run)), doing)
        await self._empty_given(worker_id, str(run))
        return ended

    async def _empty_given(self, worker_id: str, run: str = "") -> None:
        """The files that accounts have left in the folders of runs, which the worker may not remove."""
        given = GivenFolders(self._context.home, self._owner_of(worker_id))
        try:
            work = partial(given.empty, self._accounts.by_sudo, run)
            await run_blocking(work, limit=FILES_TIME, doing="emptying the folders of runs", error=Unavailable)
        except (OSError, TaskFailedInternally) as error:
            raise Unavailable(str(error)) from error

    def _owner_of(self, worker_id: str) -> str:
        return owner_name(worker_id, self._context.home)

    async def _clean_up(self, work: Callable[[], list[str]], doing: str) -> list[str]:
        try:
            return await run_blocking(work, limit=CLEAN_UP_TIME, doing=doing, error=Unavailable)
        except TaskFailedInternally as error:
            raise Unavailable(str(error)) from error

    async def dispose(self) -> None:
        await self._toolchains.close()
        self._groups.close()
