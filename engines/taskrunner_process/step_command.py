"""The steps of a task as processes: each has a group of its own, and all write to one output."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

import attrs

from taskrunner.errors import TaskFailed
from taskrunner.steps.runner import StepRunner
from taskrunner.steps.sandbox import RunningStep, StepCommand, StepSandbox
from taskrunner.steps.step_files import StepFiles
from taskrunner_process.child import Child, Start
from taskrunner_process.command import environment, find_command
from taskrunner_process.exec import FOR_GROUP, ProcessExec
from taskrunner_process.groups.process_group import ProcessGroup
from taskrunner_process.launcher import Launcher
from taskrunner_process.main_command import MainCommand
from taskrunner_process.results import ProcessResults

STEP_FOLDER = ".steps"
"""The folder of the files of the steps, in the run's folder."""

OWNER_ONLY = 0o600


def make_files(launcher: Launcher) -> StepFiles:
    """The files of the steps, which belong to the account that the run has. Blocks. Raises OSError, TaskFailed."""

    def give(number: int) -> None:
        if launcher.account:
            launcher.account.take(number)
            if launcher.account.sudo:
                os.fchmod(number, FOR_GROUP)

    try:
        return StepFiles.make(launcher.context.folder / STEP_FOLDER, mode=OWNER_ONLY, give=give)
    except FileExistsError:
        what = f"it has a file {STEP_FOLDER}, which is the folder for the files of the steps"
        raise TaskFailed("source-refused", f"source: {what}") from None


class ProcessSteps(MainCommand, StepSandbox):
    """Starts each step like the command of a task without steps. What one leaves running is killed with the run."""

    def __init__(self, launcher: Launcher, worker_id: str, *, stdout: int, stderr: int) -> None:
        """`stdout` and `stderr` are the writing ends of the run's output, which may be one; they are closed at the
        end."""
        self._launcher, self._worker_id = launcher, worker_id
        self._stdout, self._stderr = stdout, stderr
        self._groups: list[ProcessGroup] = []
        self.run_folder = str(launcher.context.folder)
        self.step_folder = str(launcher.context.folder / STEP_FOLDER)
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running: asyncio.Task[None] | None = None
        self._copy_output: Callable[[], None] = lambda: None
        self.runner: StepRunner

    # ---- what the execution calls -----------------------------------------------------------------------

    @property
    def groups(self) -> Sequence[ProcessGroup]:
        return tuple(self._groups)

    def begin(self, copy_output: Callable[[], None]) -> None:
        self._copy_output = copy_output
        self._running = asyncio.create_task(self._run())
        self._running.add_done_callback(self._finish)

    async def _run(self) -> None:
        try:
            await self.runner.run()
        finally:
            await self.runner.remove_files()

    def _finish(self, running: asyncio.Task[None]) -> None:
        for number in {self._stdout, self._stderr}:
            os.close(number)
        error = None if running.cancelled() else running.exception()
        if self._ended.done():
            return
        if error:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    async def wait(self) -> int:
        await asyncio.shield(self._ended)
        return self.runner.sequence.exit_code

    def stop(self) -> None:
        self.runner.stop()

    def fail(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)
            self._ended.exception()  # marks it as seen: the caller knows the error

    def results(self, status: int, execs: Sequence[ProcessExec]) -> ProcessResults:
        results = ProcessResults(self._launcher, status, execs)
        sequence = self.runner.sequence
        results.reason, results.message, results.details = sequence.reason, sequence.message, self.runner.details
        return results

    # ---- what the runner calls --------------------------------------------------------------------------

    async def start(self, step: StepCommand) -> RunningStep:
        context = self._launcher.context
        env = environment(context.run, self._worker_id, context.folder, self._launcher.account, step.env)
        folder = self._launcher.folder(step.working_dir)
        command = find_command(step.command, folder, env["PATH"])
        stdin, stdout = os.open(os.devnull, os.O_RDONLY), os.dup(self._stdout)
        stderr = stdout if self._stderr == self._stdout else os.dup(self._stderr)
        start = Start(command, env, folder, self._launcher.account, stdin, stdout, stderr)
        child, group = await self._launcher.launch(start, f"+step{step.number}")
        self._groups.append(group)
        return ProcessStep(self, child, group)

    async def ended(self, group: ProcessGroup, *, kill: bool = False) -> None:
        """A step has ended, or is killed. May be called again, at the same time too."""
        if kill and group in self._groups:
            await self._launcher.end(group)
        self._copy_output()
        if group in self._groups and group.known_empty():
            self._groups.remove(group)
            group.close()


@attrs.frozen
class ProcessStep(RunningStep):
    """A step that runs."""

    steps: ProcessSteps
    child: Child
    group: ProcessGroup

    async def wait(self) -> int:
        status = await self.child.wait()
        await self.steps.ended(self.group)
        return status

    async def abort(self) -> None:
        await self.steps.ended(self.group, kill=True)
        await self.child.wait()
