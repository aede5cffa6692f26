"""ProcessResults: the run's folder, after the end of everything that could change it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from taskrunner.files.results import FolderResults
from taskrunner_process.command import TEMPORARY
from taskrunner_process.exec import ProcessExec
from taskrunner_process.launcher import Launcher

SIGNALLED = 128
"""What shells add to the number of the signal that ended a command."""


class ProcessResults(FolderResults):
    """What one command has left, and what its execs still hold."""

    def __init__(self, launcher: Launcher, status: int, execs: Sequence[ProcessExec]) -> None:
        super().__init__(
            launcher.context.folder,
            launcher.context.log,
            status if status >= 0 else SIGNALLED - status,
            message=f"killed by signal {-status} ({signal_name(-status)})" if status < 0 else "",
        )
        self._execs = execs

    async def dispose(self) -> None:
        for each in self._execs:
            each.close()
        if not self._is_empty():
            await super().dispose()

    def _is_empty(self) -> bool:
        """Whether there is nothing to remove: then no thread is needed, which would cost more than to look."""
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
