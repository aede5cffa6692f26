"""ProcessResults: the run's folder, after the end of everything that could change it."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Sequence

from taskrunner.errors import TaskFailedInternally
from taskrunner.interfaces.results import READ_SIZE, Entry, Results
from taskrunner_process.exec import ProcessExec
from taskrunner_process.findings import Finding, Findings
from taskrunner_process.folders import empty, open_beneath
from taskrunner_process.launcher import Launcher

SIGNALLED = 128
"""What shells add to the number of the signal that ended a command."""

READ_TIME = 120.0
"""Seconds for one read of a file; a disk that takes longer is broken."""
LIST_TIME = 600.0
"""Seconds to list a folder: a million files take about ten."""
REMOVE_TIME = 1800.0
"""Seconds to remove a run's folder: a million files take about a minute on a slow disk."""


class ProcessResults(Results):
    """Files are confined to the run's folder, and so is what a link leads to. An attached cache lies outside of it: the
    task copies into the folder what is to be kept of it.
    """

    def __init__(self, launcher: Launcher, status: int, execs: Sequence[ProcessExec]) -> None:
        self._launcher, self._execs = launcher, execs
        self._findings = Findings(launcher.context.folder, launcher.context.log)
        self.exit_code = status if status >= 0 else SIGNALLED - status
        self.message = f"killed by signal {-status} ({signal_name(-status)})" if status < 0 else ""

    async def archive_file(self, path: str) -> Entry:
        return self._entry(
            await self._launcher.block(self._findings.file, path, limit=READ_TIME, doing="opening a file")
        )

    async def archive_folder(self, path: str) -> AsyncIterator[Entry]:
        for each in await self._launcher.block(self._findings.folder, path, limit=LIST_TIME, doing="listing a folder"):
            yield self._entry(each)

    def _entry(self, finding: Finding) -> Entry:
        return Entry(finding.name, finding.size, lambda: self._stream(finding))

    async def _stream(self, finding: Finding) -> AsyncIterator[bytes]:
        block = self._launcher.block
        try:
            file = await block(
                open_beneath, self._findings.root, finding.parts, limit=READ_TIME, doing="opening a file"
            )
            try:
                while piece := await block(os.read, file, READ_SIZE, limit=READ_TIME, doing="reading a file"):
                    yield piece
            finally:
                os.close(file)
        except OSError as error:
            raise TaskFailedInternally(f"{finding.name} could not be read: {error.strerror}") from None

    async def dispose(self) -> None:
        for each in self._execs:
            each.close()
        folder = self._launcher.context.folder
        problems = await self._launcher.block(empty, folder, limit=REMOVE_TIME, doing="removing the run's folder")
        if problems:
            raise TaskFailedInternally("\n".join(problems))


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have numbers only
        return "unnamed"
