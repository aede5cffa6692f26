"""ProcessPlatform: tasks as processes of this machine.

For tasks that are trusted as much as the worker's own user, or as the account named by `[process] user`: a process sees
the machine. The promise is that nothing of a run is left when it is over.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Self

from taskrunner.blocking import run_blocking
from taskrunner.errors import Unavailable
from taskrunner.files.plain_folder import PlainFolder
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.interfaces.platform import Platform, PlatformContext, RunContext
from taskrunner_process.account import Account, account_of
from taskrunner_process.engine import ProcessEngine
from taskrunner_process.groups.available import available_groups
from taskrunner_process.groups.process_group import ProcessGroups
from taskrunner_process.launcher import Launcher
from taskrunner_process.payload import ProcessOptions, ProcessPayload, check_payload

CLEAN_UP_TIME = 60.0
"""Seconds to end what a dead worker has left: a few searches of /proc, and KILL_TIME for processes that hang."""


class ProcessPlatform(Platform[ProcessPayload, ProcessOptions]):
    """Runs the command of a task as a process."""

    name = "process"
    takes_source = True
    payload = ProcessPayload
    options = ProcessOptions

    def __init__(self, context: PlatformContext, groups: ProcessGroups, account: Account | None) -> None:
        self._context, self._groups, self._account = context, groups, account

    @classmethod
    async def open(cls, options: ProcessOptions, context: PlatformContext) -> Self:
        """Raises: ConfigError (the user is unknown, may not be used, or cannot reach the worker's home)."""
        account = account_of(options.user, context.home) if options.user else None
        return cls(context, next(available_groups(context.worker_id)), account)

    def check(self, payload: ProcessPayload) -> None:
        check_payload(payload)

    async def new_engine(self, context: RunContext) -> ProcessEngine:
        return ProcessEngine(Launcher(context, self._groups, self._account), self._context.worker_id)

    def new_cache_folder(self, name: str, path: Path) -> CacheFolder:
        return PlainFolder(name, path)

    async def clean_up_after(self, worker_id: str) -> list[str]:
        return await run_blocking(
            partial(self._groups.clean_up_after, worker_id),
            limit=CLEAN_UP_TIME,
            doing=f"ending the processes of worker {worker_id}",
            error=Unavailable,
        )

    async def dispose(self) -> None:
        self._groups.close()
