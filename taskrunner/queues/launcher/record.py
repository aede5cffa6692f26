"""What outlives the worker: the state of the build, in a file of the home.

A worker that is started again with the same id must not run the build again, nor forget how it ended. It sends the log
that the one before could not send any more.
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
class KeptBuild:
    """What is known of the build."""

    state: BuildState = attrs.field(factory=BuildState)
    step_ids: tuple[str, ...] = ()
    """The ids of its steps, which its log has; empty ones for those without."""
    log_sent: bool = False
    """Whether the whole log is where it goes."""

    def as_json(self) -> dict[str, Any]:
        return {**attrs.asdict(self.state), "step_ids": self.step_ids, "log_sent": self.log_sent}


@attrs.frozen
class BuildRecord:
    path: Path

    async def load(self) -> KeptBuild:
        """What an earlier worker has left; of a build that it did not end, that it is lost. A new one, when there is
        none. Records of other builds are removed when there are too many.

        Raises: TaskFailedInternally.
        """
        kept: KeptBuild = await self._in_thread(self._read, "reading the state of the build")
        if kept.state.status != "in-progress":
            return kept
        kept = attrs.evolve(kept, state=lost(kept.state, DIED, "the worker of this build died while it ran"))
        await self.save(kept)
        return kept

    async def save(self, kept: KeptBuild) -> None:
        """Raises: TaskFailedInternally."""
        await self._in_thread(lambda: self._write(kept), "writing the state of the build")

    async def _in_thread(self, work: Any, doing: str) -> Any:
        try:
            return await run_blocking(work, limit=LIMIT, doing=doing, error=TaskFailedInternally)
        except (OSError, ValueError, TypeError) as error:
            raise TaskFailedInternally(f"{doing} failed: {self.path}: {error}; remove the file") from None

    def _read(self) -> KeptBuild:
        with suppress(OSError):  # what stays is counted by the next worker
            self._remove_oldest()
        try:
            kept = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return KeptBuild()
        step_ids, log_sent = kept.pop("step_ids", ()), kept.pop("log_sent", True)
        error = kept.pop("error")
        return KeptBuild(
            BuildState(**kept, error=BuildError(**error) if error else None), tuple(step_ids), log_sent=log_sent
        )

    def _remove_oldest(self) -> None:
        others = [entry for entry in os.scandir(self.path.parent) if entry.name != self.path.name]
        others.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
        for entry in others[MOST - 1 :]:
            Path(entry.path).unlink(missing_ok=True)

    def _write(self, kept: KeptBuild) -> None:
        make_private_folder(self.path.parent)
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        new.unlink(missing_ok=True)  # of a worker that died while it wrote
        write_private_file(new, json.dumps(kept.as_json()).encode())
        new.replace(self.path)
