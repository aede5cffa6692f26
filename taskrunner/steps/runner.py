"""StepRunner: runs the steps of one run, one after the other, in what an engine provides."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailed, TaskFailedInternally, local_failure
from taskrunner.interfaces.platform import RunContext
from taskrunner.model import Document, Progress
from taskrunner.steps.assignments import AssignmentError, parse_assignments
from taskrunner.steps.expansion import expand
from taskrunner.steps.sandbox import RunningStep, StepCommand, StepSandbox
from taskrunner.steps.sequence import KILLED, SKIPPED, StepEnd, StepSequence
from taskrunner.steps.specification import StepSpec, is_reserved
from taskrunner.steps.step_files import ENV, OUTPUT, SCRIPT, StepFiles
from taskrunner.steps.step_lines import end_line

T = TypeVar("T")

FILE_TIME = 60.0
"""Seconds to write a script or to read what a step has written: a disk that takes longer is broken."""

CANNOT_START = 127
"""The exit code of a command that does not exist, in a shell."""

_SIGNALLED = 128
"""What shells add to the number of the signal that ended a command."""

_STOPPED = StepEnd("stopped", KILLED, why="the run was ended")


class StepRunner:
    """Made by an engine in `start`; its execution awaits `run` and calls `stop`.

    Each step is a phase of the log, between two lines of the worker's own: `step 2/5 test`, and
    `step 2/5 test: failed (exit code 1) after 3.1 s`.
    """

    def __init__(
        self,
        steps: Sequence[StepSpec],
        sandbox: StepSandbox,
        files: StepFiles,
        context: RunContext,
        env: Mapping[str, str],
    ) -> None:
        """`env` is what `Engine.start` got."""
        self.sequence = StepSequence(steps)
        self._sandbox, self._files, self._context = sandbox, files, context
        self._env = dict(env)
        self._stop = asyncio.Event()
        self._logged = 0
        """How many steps have the line of their end in the log."""

    @property
    def details(self) -> Document:
        """The steps for `Results.details`, when `run` has returned."""
        return {"steps": self.sequence.described()}

    async def run(self) -> None:
        """Runs them to their end. How that was, `sequence` says. Called once; it is ended by `stop`, not cancelled.

        Raises: TaskFailedInternally, Unavailable.
        """
        while (step := self.sequence.next()) is not None:
            if self._stop.is_set():
                self.sequence.stop()
            elif self.sequence.is_due():
                await self._run_step(step)
            else:
                self._log_end(SKIPPED)
                self.sequence.end(SKIPPED)
        for at in range(self._logged, len(self.sequence.steps)):  # those after a stop
            self._context.log.say(f"{self.sequence.title(at)}: skipped")

    def stop(self) -> None:
        """Ends the running step, and skips all others, whatever their conditions. `run` then returns soon."""
        self._stop.set()

    async def remove_files(self) -> None:
        """Removes the files of the steps. The engine calls it after `run`, as soon as nothing needs them. May be called
        again. Raises TaskFailedInternally."""
        await self._in_thread(self._files.remove, "removing the files of the steps")

    async def _run_step(self, step: StepSpec) -> None:
        number, total = len(self.sequence.ends) + 1, len(self.sequence.steps)
        self._context.log.say(self._title)
        self._context.progress(Progress("step", number, total, unit="", note=step.label))
        clock = asyncio.get_running_loop().time
        began = clock()
        end = await self._ended(step, number)
        end = attrs.evolve(end, seconds=clock() - began)
        self._log_end(end)
        self.sequence.end(end)

    async def _ended(self, step: StepSpec, number: int) -> StepEnd:
        try:
            await self._in_thread(partial(self._files.prepare, step.run), "writing the script of a step")
        except AssignmentError as error:
            return StepEnd("failed", CANNOT_START, why=f"the files of the steps {error}")
        if self._stop.is_set():
            return _STOPPED
        command = step.argv(f"{self._sandbox.step_folder}/{SCRIPT}")
        try:
            running = await self._sandbox.start(StepCommand(number, command, self._variables(step), step.working_dir))
        except TaskFailed as error:
            return StepEnd("failed", CANNOT_START, why=error.message)
        end = await self._watch(running, step.max_run_time)
        return end if end.outcome == "stopped" else await self._with_outputs(end)

    def _variables(self, step: StepSpec) -> dict[str, str]:
        facts, folder = self.sequence.facts, self._sandbox.step_folder
        own = {name: expand(value, self._sandbox.run_folder, facts) for name, value in step.env.items()}
        return {**self._env, **own, "TASKRUNNER_OUTPUT": f"{folder}/{OUTPUT}", "TASKRUNNER_ENV": f"{folder}/{ENV}"}

    async def _watch(self, running: RunningStep, limit: int | None) -> StepEnd:
        """Waits for the end of a step, of the run, or of its time."""
        exited, stopped = asyncio.create_task(running.wait()), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({exited, stopped}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set():
                await running.abort()
                return _STOPPED
            if exited.done():
                return _end_of(exited.result())
            await running.abort()
        finally:
            for task in (exited, stopped):
                task.cancel()
            await asyncio.wait({exited, stopped})
            if not exited.cancelled():
                exited.exception()  # seen: either it was raised above, or the step was aborted
        why = f"it took longer than its max_run_time of {limit} s and was stopped"
        return StepEnd("failed", KILLED, why=why, reason="max-run-time")

    async def _with_outputs(self, end: StepEnd) -> StepEnd:
        """Reads what the step has written for later ones. A malformed file fails a step that has not failed."""
        try:
            outputs = parse_assignments(await self._read(OUTPUT))
        except AssignmentError as error:
            return self._malformed(end, f"$TASKRUNNER_OUTPUT {error}")
        try:
            self._env |= _checked(parse_assignments(await self._read(ENV)))
        except AssignmentError as error:
            end = self._malformed(end, f"$TASKRUNNER_ENV {error}")
        return attrs.evolve(end, outputs=outputs)

    def _malformed(self, end: StepEnd, problem: str) -> StepEnd:
        if end.outcome == "failed":
            self._context.log.say(f"{self._title}: {problem}")
            return end
        return attrs.evolve(end, outcome="failed", why=problem)

    async def _read(self, name: str) -> bytes:
        return await self._in_thread(partial(self._files.read, name), "reading what a step has written")

    async def _in_thread(self, work: Callable[[], T], doing: str) -> T:
        try:
            return await run_blocking(work, limit=FILE_TIME, doing=doing, error=TaskFailedInternally)
        except OSError as error:
            raise local_failure(f"{doing} failed: {error.strerror}", error) from None

    @property
    def _title(self) -> str:
        return self.sequence.title(len(self.sequence.ends))

    def _log_end(self, end: StepEnd) -> None:
        self._context.log.say(end_line(self._title, end))
        self._logged += 1


def _end_of(status: int) -> StepEnd:
    if status == 0:
        return StepEnd("success", 0)
    if status > 0:
        return StepEnd("failed", status, why=f"exit code {status}")
    try:
        name = signal.Signals(-status).name
    except ValueError:  # real-time signals have numbers only
        name = "unnamed"
    return StepEnd("failed", _SIGNALLED - status, why=f"killed by signal {-status} ({name})")


def _checked(variables: dict[str, str]) -> dict[str, str]:
    for name in variables:
        if is_reserved(name):
            raise AssignmentError(f"sets {name}, which the worker alone sets")
    return variables
