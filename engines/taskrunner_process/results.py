"""ProcessResults: the run's folder, after the end of everything that could change it."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from taskrunner.folder_results import FolderResults
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
            block=launcher.block,
        )
        self._execs = execs

    async def dispose(self) -> None:
        for each in self._execs:
            each.close()
        await super().dispose()


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have numbers only
        return "unnamed"
