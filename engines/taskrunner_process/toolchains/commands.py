"""Commands of the operator about toolchains: as the worker's user, with its environment of a task, and to the end of
their last process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally
from taskrunner.model import RunKey
from taskrunner_process.child import Child, Start, spawn
from taskrunner_process.command import environment, find_command
from taskrunner_process.groups.process_group import KILL_TIME, ProcessGroup, ProcessGroups

SPAWN_TIME = 30.0
"""Seconds to start a process, as for a run."""


@attrs.frozen
class ToolCommands:
    """Runs commands. What a killed worker leaves of them is ended as what it leaves of its runs."""

    groups: ProcessGroups
    worker_id: str
    home: Path

    async def run(self, name: str, command: Sequence[str], output: int, limit: float) -> int:
        """The exit status, within `limit` seconds. Closes the descriptor `output`. `name` is unique among what runs.

        Raises: TaskFailed (there is no such command), TaskFailedInternally, TimeoutError.
        """
        run = RunKey(name, 0)
        folder = Path(os.environ.get("HOME", self.home))
        env = environment(run, self.worker_id, folder, None, {"TMPDIR": os.environ.get("TMPDIR", "/tmp")})  # noqa: S108
        try:
            found = find_command(command, folder, env["PATH"])
            group = self.groups.open_group(str(run))
        except BaseException:
            os.close(output)
            raise
        start = Start(found, env, folder, None, os.open(os.devnull, os.O_RDONLY), output, output)
        try:
            return await _to_the_end(start, group, limit)
        finally:
            ending = run_blocking(group.end, limit=2 * KILL_TIME, doing=f"ending {name}", error=TaskFailedInternally)
            await asyncio.shield(asyncio.ensure_future(ending))
            group.close()


async def _to_the_end(start: Start, group: ProcessGroup, limit: float) -> int:
    process = await run_blocking(
        partial(spawn, start, group), limit=SPAWN_TIME, doing="starting a process", error=TaskFailedInternally
    )
    async with asyncio.timeout(limit):
        return await Child(process, group).wait()
