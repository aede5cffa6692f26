"""Launcher: starts and ends the commands of one run, with what they have in common."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailed, TaskFailedInternally
from taskrunner.interfaces.platform import RunContext
from taskrunner_process.account import Account
from taskrunner_process.child import Child, Start, spawn
from taskrunner_process.command import find_command
from taskrunner_process.groups.process_group import KILL_TIME, MARKER, ProcessGroup, ProcessGroups

SPAWN_TIME = 30.0
"""Seconds to start a process, which takes about one millisecond; longer means that the program's disk hangs."""


@attrs.frozen
class Launcher:
    """Starts and ends processes for one run."""

    context: RunContext
    groups: ProcessGroups
    account: Account | None
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    def find(self, command: Sequence[str]) -> list[str]:
        """As `find_command`, in the run's folder, with the run's PATH."""
        return find_command(command, self.context.folder, self.env["PATH"])

    async def launch(self, start: Start, name: str) -> tuple[Child, ProcessGroup]:
        """Starts one more command, whose `name` is unique within the run. Closes the descriptors of `start`. After an
        error nothing of it is left.

        Raises: TaskFailed, TaskFailedInternally.
        """
        try:
            group = self.groups.open_group(f"{self.context.run}{name}")
        except OSError as error:
            start.close()
            raise TaskFailedInternally(f"no process group could be made: {error}") from None
        starting = asyncio.create_task(self._spawn(_marked(start, name), group))
        try:
            return await asyncio.shield(starting), group
        except asyncio.CancelledError:
            await asyncio.shield(self._undo(starting, group))
            raise
        except (TaskFailed, TaskFailedInternally):
            await self.end(group)
            group.close()
            raise

    async def _undo(self, starting: asyncio.Task[Child], group: ProcessGroup) -> None:
        """Waits until the process has started, which takes about a millisecond, and ends it."""
        (outcome,) = await asyncio.gather(starting, return_exceptions=True)
        await self.end(group)
        group.close()
        if isinstance(outcome, Child):
            await outcome.wait()

    async def _spawn(self, start: Start, group: ProcessGroup) -> Child:
        process = await run_blocking(
            partial(spawn, start, group),
            limit=SPAWN_TIME,
            doing="starting a process",
            discard=partial(_end_late, group),
            error=TaskFailedInternally,
        )
        return Child(process)

    async def end(self, *groups: ProcessGroup) -> None:
        """Kills everything alive in these groups. Raises TaskFailedInternally with a line for each group that stays."""
        alive = [group for group in groups if not group.known_empty()]
        if not alive:
            return
        outcomes = await asyncio.gather(*(_end_group(group) for group in alive), return_exceptions=True)
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if errors:
            raise TaskFailedInternally("\n".join(map(str, errors)))


def _marked(start: Start, name: str) -> Start:
    """Gives the command the marker of its own group, by which a search tells it from the other commands of the run."""
    run, _, worker_id = start.env[MARKER].rpartition("@")
    return attrs.evolve(start, env={**start.env, MARKER: f"{run}{name}@{worker_id}"}) if name else start


async def _end_group(group: ProcessGroup) -> None:
    await run_blocking(
        group.end, limit=2 * KILL_TIME, doing="killing what the run has started", error=TaskFailedInternally
    )


def _end_late(group: ProcessGroup, process: subprocess.Popen[bytes]) -> None:
    """Ends a process that has started after its limit, when its run has already failed."""
    group.end()
    process.wait()
    group.close()
