"""ProcessResults: the run's folder, after every process that could change it has ended."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Sequence

from taskrunner.files.results import FolderResults
from taskrunner.interfaces.results import Entry
from taskrunner_process.command import TEMPORARY
from taskrunner_process.exec import ProcessExec
from taskrunner_process.launcher import Launcher

SIGNALLED = 128
"""What shells add to the number of the signal that ended a command."""


class ProcessResults(FolderResults):
    """The folder of one command, and the open output of its execs."""

    def __init__(self, launcher: Launcher, status: int, execs: Sequence[ProcessExec]) -> None:
        super().__init__(
            launcher.context.folder,
            launcher.context.log,
            status if status >= 0 else SIGNALLED - status,
            message=f"killed by signal {-status} ({signal_name(-status)})" if status < 0 else "",
        )
        self._execs, self._launcher, self._opened = execs, launcher, False

    async def archive_file(self, path: str) -> Entry:
        await self._open()
        return await super().archive_file(path)

    async def archive_folder(self, path: str) -> AsyncIterator[Entry]:
        await self._open()
        async for entry in super().archive_folder(path):
            yield entry

    async def archive(self, path: str = ".") -> Entry:
        await self._open()
        return await super().archive(path)

    async def _open(self) -> None:
        if not self._opened:
            await self._launcher.open_folder()
            self._opened = True

    async def dispose(self) -> None:
        for each in self._execs:
            each.close()
        try:
            if not self._is_empty():
                await self._launcher.empty_folder()
                await super().dispose()
        finally:
            await self._launcher.release()

    def _is_empty(self) -> bool:
        """Whether there is nothing to remove. To look costs less than the thread that would be needed otherwise."""
        try:
            (self._folder / TEMPORARY).rmdir()
            with os.scandir(self._folder) as left:
                return next(left, None) is None
        except OSError:
            return False


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have numbers only
        return "unnamed"
