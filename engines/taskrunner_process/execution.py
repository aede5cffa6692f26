"""ProcessExecution: runs one command or several steps, and ends everything that it has started."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from taskrunner.errors import Bug, NotSupported, TaskFailed, TaskFailedInternally
from taskrunner.interfaces.execution import NO_VARIABLES, Exec, Execution, Input, Size
from taskrunner.interfaces.log import LogStream
from taskrunner.interfaces.results import Results
from taskrunner_process.exec import ProcessExec
from taskrunner_process.launcher import Launcher
from taskrunner_process.main_command import MainCommand
from taskrunner_process.pipes import LoggedOutput, PipeInput
from taskrunner_process.results import ProcessResults


class ProcessExecution(Execution):
    """The run is over when its command, or the last step, exits. What is still running then is killed, and the rest of
    the pipes is logged. So neither a forgotten daemon nor one that holds the output open keeps a run from ending.
    """

    def __init__(
        self, launcher: Launcher, main: MainCommand, outputs: Mapping[LogStream, int], stdin: int | None
    ) -> None:
        """`outputs` and `stdin` are the worker's ends of the command's pipes."""
        self._launcher, self._main = launcher, main
        self._stdin = None if stdin is None else PipeInput(stdin)
        self._outputs = [
            LoggedOutput(number, launcher.context.log, stream, self._log_failed) for stream, number in outputs.items()
        ]
        self._log_error: Exception | None = None
        self._stuck: TaskFailedInternally | None = None
        """Why something of the run is left: it could not be killed, or not unmounted."""
        self._execs: list[ProcessExec] = []
        self._exec_count = 0
        """Of all that were begun: each has a name of its own."""
        self._starting: set[asyncio.Task[ProcessExec]] = set()
        self._over = False
        self._out_of_memory = ""
        """What happened, when the kernel has killed a process of the run for memory."""
        self._aborted = False
        self._kill: asyncio.Task[None] | None = None
        main.begin(self._copy_outputs)
        self._end = asyncio.create_task(self._run_to_end())
        self._end.add_done_callback(_mark_seen)

    @property
    def stdin(self) -> Input:
        if self._stdin is None:
            raise NotSupported("this run was started without a standard input")
        return self._stdin

    async def new_exec(
        self, command: Sequence[str], *, tty: Size | None = None, env: Mapping[str, str] = NO_VARIABLES, cwd: str = ""
    ) -> Exec:
        if self._over:
            raise TaskFailed("run-ended", "the run has ended: no more commands can be started in it")
        start = ProcessExec.start(self._launcher, command, self._exec_count, tty=tty, env=env, cwd=cwd)
        self._exec_count += 1
        starting = asyncio.create_task(start)
        self._starting.add(starting)
        starting.add_done_callback(self._started)
        return await asyncio.shield(starting)

    def _started(self, starting: asyncio.Task[ProcessExec]) -> None:
        self._starting.discard(starting)
        if not starting.cancelled() and not starting.exception():
            self._execs.append(starting.result())

    async def wait(self) -> Results:
        results = await asyncio.shield(self._end)
        if self._aborted:
            raise Bug("this execution was aborted: there are no results")
        return results

    async def kill(self) -> Results:
        await self._kill_all()
        return await self.wait()

    async def abort(self) -> None:
        self._aborted = True
        await self._kill_all()
        await asyncio.wait([self._end])
        if self._stuck:
            raise self._stuck
        await ProcessResults(self._launcher, 0, self._execs).dispose()

    async def _kill_all(self) -> None:
        """Ends every process; the exit of the first one then ends the run. All callers share one attempt."""
        if self._end.done():
            return
        await asyncio.shield(self._start_kill())

    async def _kill_groups(self) -> None:
        self._over = True
        self._main.stop()
        if self._starting:
            await asyncio.wait(self._starting)
        try:
            await self._launcher.end(*self._main.groups, *(each.group for each in self._execs))
        except TaskFailedInternally as error:
            self._stuck = error
            self._main.fail(error)
            raise

    async def _run_to_end(self) -> ProcessResults:
        try:
            status = await self._main.wait()
        finally:
            await self._end_everything()
        if self._log_error:
            raise self._log_error
        results = self._main.results(status, self._execs)
        if results.exit_code and self._out_of_memory:
            results.reason = "out-of-memory"
            results.message = "; ".join(filter(None, (results.message, self._out_of_memory)))
        return results

    async def _end_everything(self) -> None:
        try:
            if not self._stuck:
                await self._kill_groups()
                await self._launcher.proxies.close()
                await self._unmount()
        finally:
            for output in self._outputs:
                output.drain()
            self._out_of_memory = self._launcher.limit.out_of_memory()
            self._release()

    async def _unmount(self) -> None:
        try:
            await self._launcher.unmount()
        except TaskFailedInternally as error:
            self._stuck = error
            raise

    def _copy_outputs(self) -> None:
        for output in self._outputs:
            output.copy()

    def _release(self) -> None:
        if self._stdin:
            self._stdin.descriptor.close()
        self._main.close()
        for each in self._execs:
            each.group.close()
        self._launcher.limit.close()

    def _log_failed(self, error: Exception) -> None:
        """A run without its log is useless: it ends now, and `wait` raises this error."""
        self._log_error = error
        self._start_kill()

    def _start_kill(self) -> asyncio.Task[None]:
        if self._kill is None:
            self._kill = asyncio.create_task(self._kill_groups())
            self._kill.add_done_callback(_mark_seen)
        return self._kill


def _mark_seen(task: asyncio.Task[object]) -> None:
    """Its error is raised where it is awaited, which may be nowhere: then asyncio must not log it."""
    if not task.cancelled():
        task.exception()
