"""The logs of the services of one run: files in its folder, which are kept as artifacts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.log import Log
from taskrunner.interfaces.results import READ_SIZE
from taskrunner.limits import service_log_name
from taskrunner.log.side_log import SideLog
from taskrunner.model import Resolution, RunKey
from taskrunner.state.run_folder import RunFolder

READ_LIMIT = 60.0
"""Seconds to read a piece of a file."""


@attrs.define
class ServiceLogs:
    """By the name of the service."""

    folder: RunFolder
    main: Log
    """The log of the run."""
    _logs: dict[str, SideLog] = attrs.field(factory=dict)

    def new(self, name: str) -> Log:
        """Raises TaskFailedInternally."""
        self._logs[name] = SideLog(self.folder.service_log(name), self.main)
        return self._logs[name]

    def finish(self, resolution: Resolution, took: float) -> None:
        """Ends all. A second call does nothing. Raises nothing."""
        for log in self._logs.values():
            with suppress(TaskFailedInternally):  # its trailer says what is missing
                log.finish(resolution, took)

    async def keep(self, store: ArtifactStore, run: RunKey) -> None:
        """Stores them, after `finish`. Raises the errors of the store, OSError, OverLimit."""
        for name, log in self._logs.items():
            await store.put(run, service_log_name(name), _read(log.path), content_type="text/plain; charset=utf-8")


async def _read(path: Path) -> AsyncIterator[bytes]:
    at = 0
    while piece := await run_blocking(partial(_piece, path, at), limit=READ_LIMIT, doing=f"reading {path}"):
        at += len(piece)
        yield piece


def _piece(path: Path, at: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        file.seek(at)
        return file.read(READ_SIZE) or b""
