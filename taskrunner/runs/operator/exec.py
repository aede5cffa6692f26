"""Commands that the operator runs beside that of a run, and what the log of the run says of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

import attrs

from taskrunner.blocking import OverLimit
from taskrunner.errors import TaskFailed, TaskFailedInternally
from taskrunner.interfaces.execution import NO_VARIABLES, Exec, Size
from taskrunner.machines.task import TaskState

if TYPE_CHECKING:
    from taskrunner.interfaces.execution import Execution
    from taskrunner.runs.run import TaskRun

ABORT_LIMIT = 90.0
"""Seconds to end a command. The engines kill it within milliseconds, and have limits of their own below this."""


@attrs.frozen
class ExecCommand:
    """What the operator wants to run, as in `Execution.new_exec`."""

    words: tuple[str, ...]
    tty: Size | None = None
    env: Mapping[str, str] = attrs.field(default=NO_VARIABLES, repr=False)
    cwd: str = ""


@attrs.define
class OperatorExecs:
    """Those of one run."""

    started: asyncio.Event = attrs.field(init=False, factory=asyncio.Event)
    """Set when the command of the run has started, or will not."""
    _numbers: count[int] = attrs.field(init=False, factory=lambda: count(1))

    @asynccontextmanager
    async def running(self, run: TaskRun, command: ExecCommand, who: str) -> AsyncIterator[Exec]:
        """A command that has started; it ends with the block, with everything that it has started. It waits for the
        command of a run that is just being started.

        The log names the program alone, since its arguments may hold what the readers of the log must not see.
        Raises: TaskFailed (`not-running`, or what `Execution.new_exec` says), and as `Execution.new_exec`.
        """
        if run.machine.at == TaskState.RUNNING:
            await self.started.wait()
        execution = execution_of(run)
        begun = await execution.new_exec(command.words, tty=command.tty, env=command.env, cwd=command.cwd)
        name = f"exec {next(self._numbers)} ({command.words[0]})"
        log = run.record.log
        log.say(f"{name} was begun by {who}")
        cause = "its client has gone, "
        try:
            yield begun
            cause = ""
        finally:
            log.say(f"{name} has ended: {cause}{await self._end(run, begun, name)}")

    async def _end(self, run: TaskRun, begun: Exec, name: str) -> str:
        """Returns how it has ended, in words. Raises nothing: a command that cannot be killed is a warning."""
        try:
            await run.kept.calls.call(begun.abort(), limit=ABORT_LIMIT, doing=f"ending {name}")
            return words_of(await run.kept.calls.call(begun.wait(), limit=ABORT_LIMIT, doing=f"waiting for {name}"))
        except (OverLimit, TaskFailedInternally) as error:
            run.services.observer.warn(f"{run.claim.run}: {name} could not be ended: {error}")
            return f"it could not be ended: {error}"


def execution_of(run: TaskRun) -> Execution:
    """What runs. Raises TaskFailed (`not-running`)."""
    if run.execution is None or run.machine.at != TaskState.RUNNING:
        raise TaskFailed("not-running", f"{run.claim.run} is {run.machine.at}: it has no command that runs")
    return run.execution


def words_of(status: int) -> str:
    """An exit status for people."""
    return f"signal {-status}" if status < 0 else f"exit status {status}"
