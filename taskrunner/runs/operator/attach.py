"""The operator's connection to the command of an interactive run: its input, and a copy of its output."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

import attrs

from taskrunner.errors import NotSupported, TaskFailed
from taskrunner.interfaces.execution import Input
from taskrunner.machines.task import TaskState
from taskrunner.runs.operator.exec import execution_of
from taskrunner.runs.operator.followed_output import FollowedOutput, Piece

if TYPE_CHECKING:
    from taskrunner.runs.run import TaskRun


@attrs.define
class OperatorAttach:
    """Of one run. One client at a time: the input of two would be mixed, and `taskrunner logs` shows the output to any
    number."""

    ended: asyncio.Event = attrs.field(init=False, factory=asyncio.Event)
    """Set when the command has ended, and everything that it has printed is in the log."""
    failure: str = attrs.field(init=False, default="")
    """Why it has no exit status of its own; empty when it has one."""
    exit_code: int = attrs.field(init=False, default=0)
    input_ended: bool = attrs.field(init=False, default=False)
    """Whether a client has ended the input: there is none any more."""
    _who: str = attrs.field(init=False, default="")
    """The client; empty without one."""
    _numbers: count[int] = attrs.field(init=False, factory=lambda: count(1))

    @asynccontextmanager
    async def attached(self, run: TaskRun, who: str) -> AsyncIterator[AttachedCommand]:
        """The command of the run, which goes on after the block. It waits for a command that is just being started.

        Raises: NotSupported (the run is not interactive), TaskFailed (`not-running`; `attached`: another client is;
        `input-ended`).
        """
        stdin, name = await self._open(run), f"attach {next(self._numbers)}"
        log, self._who = run.record.log, who
        log.say(f"{name} was begun by {who}")
        try:
            yield AttachedCommand(self, LoggedInput(self, run, stdin, name), FollowedOutput(log, self.ended.is_set))
        finally:
            self._who = ""
            log.say(f"{name} has ended: {'so has the command' if self.ended.is_set() else 'its client has gone'}")

    async def _open(self, run: TaskRun) -> Input:
        if run.machine.at == TaskState.RUNNING:
            await run.execs.started.wait()
        execution, follow = execution_of(run), f"`taskrunner logs --follow {run.claim.task_id}` shows its output"
        if not run.task.interactive:
            raise NotSupported(f"{run.claim.run} keeps no input open, its task has no `interactive = true`; {follow}")
        if self._who:
            raise TaskFailed("attached", f"{self._who} is attached to {run.claim.run}, one can be at a time; {follow}")
        if self.input_ended:
            raise TaskFailed("input-ended", f"the input of {run.claim.run} was ended by a client before; {follow}")
        return execution.stdin

    def command_ended(self, run: TaskRun) -> None:
        """Called once. A run that was stopped has a resolution by then."""
        if run.attempt.resolution:
            self.failure = f"{run.claim.run} was stopped: {run.resolution}"
        elif run.results is None:
            self.failure = f"{run.claim.run} has ended, and how is not known: `taskrunner show` will say it"
        else:
            self.exit_code = run.results.exit_code
        self.ended.set()


@attrs.frozen
class AttachedCommand:
    """The command of a run, as its client has it."""

    attach: OperatorAttach
    stdin: Input
    _output: FollowedOutput

    def output(self) -> AsyncGenerator[Piece, None]:
        """As `FollowedOutput.pieces`."""
        return self._output.pieces()

    async def wait(self) -> int:
        """The exit status. Raises TaskFailed (`stopped`: not by itself)."""
        await self.attach.ended.wait()
        if self.attach.failure:
            raise TaskFailed("stopped", self.attach.failure)
        return self.attach.exit_code


@attrs.frozen
class LoggedInput(Input):
    """The input of the command; the log says who has ended it, and nothing of what was written."""

    attach: OperatorAttach
    run: TaskRun
    stdin: Input
    name: str

    async def write(self, data: bytes) -> None:
        await self.stdin.write(data)

    async def close(self) -> None:
        self.attach.input_ended = True
        self.run.record.log.say(f"{self.name} has ended the input of the command")
        await self.stdin.close()
