"""AccountCache: a cache whose files belong to accounts that the worker becomes by sudo."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally
from taskrunner.files.plain_folder import PlainFolder
from taskrunner_process.accounts.account import Account
from taskrunner_process.accounts.files import FILES_TIME, empty, share

logger = logging.getLogger(__name__)


class AccountCache(PlainFolder):
    """The accounts remove what is theirs before the worker removes the rest. What no other user may read of it does not
    count for its size."""

    def __init__(self, name: str, path: Path, accounts: Sequence[Account]) -> None:
        super().__init__(name, path)
        self._accounts = accounts

    async def delete(self) -> None:
        try:
            await run_blocking(self._empty, limit=FILES_TIME, doing=f"emptying {self.path}")
        except (OSError, TaskFailedInternally) as error:
            logger.warning("cache %s: %s", self.name, error)
        await super().delete()

    def _empty(self) -> None:
        for account in self._accounts:
            share(self.path, account)
            empty(self.path, account)
