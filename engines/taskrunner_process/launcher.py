"""Launcher: what every command of one run has in common, and the threads in which starting and killing block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TypeVar

import attrs

from taskrunner.errors import TaskFailed, TaskFailedInternally
from taskrunner.interfaces.platform import RunContext
from taskrunner_process.account import Account
from taskrunner_process.child import Child, Start, spawn
from taskrunner_process.command import find_command
from taskrunner_process.groups.group import KILL_TIME, ProcessGroup, ProcessGroups

T = TypeVar("T")

SPAWN_TIME = 30.0
"""Seconds to start a process, which takes about one millisecond; longer means that the program's disk hangs."""


@attrs.frozen
class Launcher:
    """Starts and ends processes for one run."""

    context: RunContext
    groups: ProcessGroups
    account: Account | None
    threads: Executor
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    async def block(self, call: Callable[..., T], *arguments: object, limit: float, doing: str) -> T:
        """Runs something that blocks in a thread. Raises TaskFailedInternally after `limit` seconds."""
        work = asyncio.get_running_loop().run_in_executor(self.threads, call, *arguments)
        try:
            async with asyncio.timeout(limit):
                return await work
        except TimeoutError:
            raise TaskFailedInternally(f"{doing} did not finish within {limit:g} s") from None

    def find(self, command: Sequence[str]) -> list[str]:
        """As `find_command`, in the run's folder, with the run's PATH."""
        return find_command(command, self.context.folder, self.env["PATH"])

    async def launch(self, start: Start, name: str) -> tuple[Child, ProcessGroup]:
        """Starts one more command; `name` tells it from the others of this run. What it started is undone on an error.

        Raises: TaskFailed, TaskFailedInternally.
        """
        group = self._open_group(name)
        starting = asyncio.create_task(self._spawn(start, group))
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
        """Nobody wants it any more: lets it start, which takes a moment, and ends it."""
        (outcome,) = await asyncio.gather(starting, return_exceptions=True)
        await self.end(group)
        group.close()
        if isinstance(outcome, Child):
            await outcome.wait()

    def _open_group(self, name: str) -> ProcessGroup:
        try:
            return self.groups.open_group(f"{self.context.run}{name}")
        except OSError as error:
            raise TaskFailedInternally(f"no process group could be made: {error}") from None

    async def _spawn(self, start: Start, group: ProcessGroup) -> Child:
        return Child(await self.block(spawn, start, group, limit=SPAWN_TIME, doing="starting a process"))

    async def end(self, *groups: ProcessGroup) -> None:
        """Kills everything alive in these groups. Raises TaskFailedInternally with a line for each group that stays."""
        alive = [group for group in groups if not group.known_empty()]
        if not alive:
            return
        outcomes = await asyncio.gather(*(self._end_one(group) for group in alive), return_exceptions=True)
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if errors:
            raise TaskFailedInternally("\n".join(map(str, errors)))

    async def _end_one(self, group: ProcessGroup) -> None:
        await self.block(group.end, limit=2 * KILL_TIME, doing="killing what the run has started")
