"""FakeExecution: a scripted run that has started."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from taskrunner.errors import Bug, NotSupported, TaskFailed
from taskrunner.interfaces.execution import NO_VARIABLES, Exec, Execution, Input, Size
from taskrunner.interfaces.results import Results
from taskrunner.testing.fakes.exec import FakeExec
from taskrunner.testing.fakes.results import FakeResults
from taskrunner.testing.fakes.run import FakeRun

KILLED = 137
"""The exit code of a killed run: 128 plus the number of SIGKILL."""


class FakeExecution(Execution):
    """A view of a run. An execution that was recovered is another view of the same run."""

    def __init__(self, run: FakeRun) -> None:
        if run.process is None:
            raise Bug("an execution is made of a run that was started")
        self.run, self.process, self.handle = run, run.process, run.handle

    @property
    def stdin(self) -> Input:
        if self.run.stdin is None:
            raise NotSupported("this execution was started without a standard input")
        return self.run.stdin

    async def new_exec(
        self, command: Sequence[str], *, tty: Size | None = None, env: Mapping[str, str] = NO_VARIABLES, cwd: str = ""
    ) -> Exec:
        self.run.called("exec")
        if self.process.done():
            raise TaskFailed("ended", "the run has ended already")
        return FakeExec(self.run, command, tty=tty, env=env, cwd=cwd)

    async def wait(self) -> Results:
        self.run.called("wait")
        await asyncio.wait([self.process])
        await self.run.script.inject_fault("wait")
        return self._results()

    async def kill(self) -> Results:
        self.run.called("kill")
        await self.run.script.inject_fault("kill")
        await self.run.end()
        return self._results()

    async def abort(self) -> None:
        self.run.called("abort")
        await self.run.script.inject_fault("abort")
        self.run.backend.held.pop(self.run, None)
        await self.run.end()

    def _results(self) -> Results:
        """Consumes the execution. Every call returns the same results.

        Raises: Bug after `abort`; the error that ended the process, such as one of the log.
        """
        if self.run.results is None:
            if self.run not in self.run.backend.held:
                raise Bug(f"{self.run.key} was aborted: there are no results")
            code = KILLED if self.process.cancelled() else self.process.result()
            self.run.results = FakeResults(self.run, code)
            self.run.backend.held[self.run] = "results"
        return self.run.results


__all__ = ["KILLED", "FakeExecution"]
