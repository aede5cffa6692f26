"""Execution and Exec: what is running now."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType

import attrs

from taskrunner.errors import NotSupported
from taskrunner.interfaces.results import Results


@attrs.frozen
class Size:
    """The size of a terminal, in characters."""

    rows: int
    columns: int


NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


class Input(ABC):
    """The writing end of a standard input."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Waits until the reader has room. Raises BrokenPipeError when there is no reader any more."""

    @abstractmethod
    async def close(self) -> None:
        """The reader sees the end of file. A second call does nothing."""


class Execution(ABC):
    """A run that has started. Its output goes to the run's log as it comes, not through this object.

    `wait`, `kill` and `abort` may be called at the same time from several coroutines; the first call that ends the run
    decides how it ended.
    """

    handle: str = ""
    """Text by which `Platform.recover` finds the execution after a crash; empty when that is not possible."""

    @property
    def stdin(self) -> Input:
        """The standard input, if the engine was started with one. Raises NotSupported."""
        raise NotSupported("this execution has no standard input")

    async def new_exec(
        self, command: Sequence[str], *, tty: Size | None = None, env: Mapping[str, str] = NO_VARIABLES, cwd: str = ""
    ) -> Exec:
        """Starts one more command beside the main one, inside the same limits: for a person who inspects the run.

        With a `tty`, it has a terminal, of that size at the latest when this returns. `env` is added to the run's
        environment, and overrides it. `cwd` is relative to the working folder of the run, which is where the command
        begins when it is empty, or absolute in the run's view. When a call is cancelled, the command ends with the run
        at the latest.

        Raises: MalformedPayload (a variable that cannot be set), NotSupported, TaskFailed (the command cannot be
            started, or the run has ended), TaskFailedInternally.
        """
        raise NotSupported("exec")

    @abstractmethod
    async def wait(self) -> Results:
        """Waits for the end of the command. What it has left running is ended, and all output is in the log, when this
        returns: its slot may be given to another run. Every call returns the same Results. Cancelling it ends the wait,
        not the run.

        Raises: RunLost (what runs it has ended, or cannot be observed any more: the run is tried again), Unavailable (a
            service that it needs did not answer), TaskFailedInternally, Bug (after `abort`).
        """

    @abstractmethod
    async def kill(self) -> Results:
        """Ends the run now, with everything that it started, and keeps what it has made so far. When the run has ended
        already, returns the Results of that end. Nothing of the run is alive when this returns.

        Raises: TaskFailedInternally when something could not be killed.
        """

    @abstractmethod
    async def abort(self) -> None:
        """Ends the run now and removes everything: `kill` and `dispose` in one call, which may be faster. May be called
        again.

        Raises: TaskFailedInternally with a line for each thing that could not be removed.
        """


class Exec(ABC):
    """One more command in a run. It ends with the run at the latest."""

    @property
    @abstractmethod
    def stdin(self) -> Input: ...

    @property
    @abstractmethod
    def stdout(self) -> AsyncIterator[bytes]:
        """The output, with a terminal that of stderr as well. The caller reads it to its end: a full pipe stops the
        command."""

    @property
    @abstractmethod
    def stderr(self) -> AsyncIterator[bytes]: ...

    async def resize(self, rows: int, columns: int) -> None:
        """Sets the size of the terminal, in characters. Raises NotSupported without one."""
        raise NotSupported("this command has no terminal")

    @abstractmethod
    async def wait(self) -> int:
        """Waits for the exit status: minus the signal's number when a signal ended it. Every call returns the same."""

    @abstractmethod
    async def abort(self) -> None:
        """Kills the command and what it started. May be called again."""
