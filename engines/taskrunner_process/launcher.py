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
from taskrunner_process.trees.tree import KILL_TIME, Forest, ProcessTree

T = TypeVar("T")

SPAWN_TIME = 30.0
"""Seconds to start a process, which takes about one millisecond; longer means that the program's disk hangs."""


@attrs.frozen
class Launcher:
    """Starts and ends processes for one run."""

    context: RunContext
    forest: Forest
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

    async def launch(self, start: Start, name: str) -> tuple[Child, ProcessTree]:
        """Starts one more command; `name` tells it from the others of this run. What it started is undone on an error.

        Raises: TaskFailed, TaskFailedInternally.
        """
        tree = self._plant(name)
        starting = asyncio.create_task(self._spawn(start, tree))
        try:
            return await asyncio.shield(starting), tree
        except asyncio.CancelledError:
            await asyncio.shield(self._undo(starting, tree))
            raise
        except (TaskFailed, TaskFailedInternally):
            await self.end(tree)
            tree.close()
            raise

    async def _undo(self, starting: asyncio.Task[Child], tree: ProcessTree) -> None:
        """Nobody wants it any more: lets it start, which takes a moment, and ends it."""
        (outcome,) = await asyncio.gather(starting, return_exceptions=True)
        await self.end(tree)
        tree.close()
        if isinstance(outcome, Child):
            await outcome.wait()

    def _plant(self, name: str) -> ProcessTree:
        try:
            return self.forest.plant(f"{self.context.run}{name}")
        except OSError as error:
            raise TaskFailedInternally(f"no process group could be made: {error}") from None

    async def _spawn(self, start: Start, tree: ProcessTree) -> Child:
        return Child(await self.block(spawn, start, tree, limit=SPAWN_TIME, doing="starting a process"))

    async def end(self, *trees: ProcessTree) -> None:
        """Kills everything that is alive in these trees. Raises TaskFailedInternally with a line for each tree left."""
        alive = [tree for tree in trees if not tree.settled()]
        if not alive:
            return
        outcomes = await asyncio.gather(*(self._end_one(tree) for tree in alive), return_exceptions=True)
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if errors:
            raise TaskFailedInternally("\n".join(map(str, errors)))

    async def _end_one(self, tree: ProcessTree) -> None:
        await self.block(tree.end, limit=2 * KILL_TIME, doing="killing what the run has started")
