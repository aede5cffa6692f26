"""What outlives the worker: the state of the build, in a file of the home.

A worker that is started again with the same id must not run the build again, nor forget how it ended.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally
from taskrunner.files.private import make_private_folder, write_private_file
from taskrunner.queues.launcher.build_state import BuildError, BuildState
from taskrunner.queues.launcher.outcome import lost

LIMIT = 10.0
"""Seconds for a small file of the worker's own disk."""

MOST = 1000
"""Records that a home keeps. One is asked for when a worker is started again for its build, minutes after its end."""

DIED = "worker-died"
"""The reason of a build whose worker ended without a word."""


@attrs.frozen
class BuildRecord:
    path: Path

    async def load(self) -> BuildState:
        """The state that an earlier worker has left; of a build that it did not end, that it is lost. A new one, when
        there is none. Records of other builds are removed when there are too many.

        Raises: TaskFailedInternally.
        """
        state: BuildState = await self._in_thread(self._read, "reading the state of the build")
        if state.status != "in-progress":
            return state
        state = lost(state, DIED, "the worker of this build died while it ran")
        await self.save(state)
        return state

    async def save(self, state: BuildState) -> None:
        """Raises: TaskFailedInternally."""
        await self._in_thread(lambda: self._write(state), "writing the state of the build")

    async def _in_thread(self, work: Any, doing: str) -> Any:
        try:
            return await run_blocking(work, limit=LIMIT, doing=doing, error=TaskFailedInternally)
        except (OSError, ValueError, TypeError) as error:
            raise TaskFailedInternally(f"{doing} failed: {self.path}: {error}; remove the file") from None

    def _read(self) -> BuildState:
        with suppress(OSError):  # what stays is counted by the next worker
            self._remove_oldest()
        try:
            kept = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return BuildState()
        error = kept.pop("error")
        return BuildState(**kept, error=BuildError(**error) if error else None)

    def _remove_oldest(self) -> None:
        others = [entry for entry in os.scandir(self.path.parent) if entry.name != self.path.name]
        others.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
        for entry in others[MOST - 1 :]:
            Path(entry.path).unlink(missing_ok=True)

    def _write(self, state: BuildState) -> None:
        make_private_folder(self.path.parent)
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        new.unlink(missing_ok=True)  # of a worker that died while it wrote
        write_private_file(new, json.dumps(attrs.asdict(state)).encode())
        new.replace(self.path)
