"""MainCommand: what a run executes, until which it lasts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from taskrunner_process.child import Child
from taskrunner_process.exec import ProcessExec
from taskrunner_process.groups.process_group import ProcessGroup
from taskrunner_process.launcher import Launcher
from taskrunner_process.results import ProcessResults


class MainCommand(ABC):
    """One command, or several steps. Used from the event loop."""

    @property
    @abstractmethod
    def groups(self) -> Sequence[ProcessGroup]:
        """Everything that it has started so far."""

    def begin(self, copy_output: Callable[[], None]) -> None:  # noqa: B027  one command has begun already
        """The output is read from now on; `copy_output` moves what is in the pipes into the log. Called once, first."""

    @abstractmethod
    async def wait(self) -> int:
        """The exit status; minus the signal's number when a signal ended it. Cancelling it ends the wait only."""

    def stop(self) -> None:  # noqa: B027  one command ends when its group is killed
        """Starts nothing more. The caller kills the groups."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """It cannot be killed: `wait` raises this error."""

    @abstractmethod
    def results(self, status: int, execs: Sequence[ProcessExec]) -> ProcessResults: ...

    def close(self) -> None:
        """Releases what it took from the system, when everything has ended."""
        for group in self.groups:
            group.close()


class OneCommand(MainCommand):
    """The command of a payload, which has started."""

    def __init__(self, launcher: Launcher, child: Child, group: ProcessGroup) -> None:
        self._launcher, self._child, self._group = launcher, child, group

    @property
    def groups(self) -> Sequence[ProcessGroup]:
        return (self._group,)

    async def wait(self) -> int:
        return await self._child.wait()

    def fail(self, error: Exception) -> None:
        self._child.fail(error)

    def results(self, status: int, execs: Sequence[ProcessExec]) -> ProcessResults:
        return ProcessResults(self._launcher, status, execs)
