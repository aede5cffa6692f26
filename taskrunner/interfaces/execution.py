"""Execution and Exec: what is running now."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence

from taskrunner.errors import NotSupported
from taskrunner.interfaces.results import Results


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

    `wait`, `kill` and `abort` may be called at the same time from several coroutines; the first to end it decides.
    """

    handle: str = ""
    """Enough text to find it again after a crash (`Platform.recover`); empty when that is not possible."""

    @property
    def stdin(self) -> Input:
        """The standard input, if the engine was started with one. Raises NotSupported."""
        raise NotSupported("this execution has no standard input")

    async def new_exec(self, command: Sequence[str], *, tty: bool = False) -> Exec:
        """Starts one more command beside the main one: for steps, and for a person who wants to look.

        Raises: NotSupported, TaskFailed (the command cannot be started, or the run has ended).
        """
        raise NotSupported("exec")

    @abstractmethod
    async def wait(self) -> Results:
        """Waits for the end. Every call returns the same Results. Cancelling it ends the wait, not the run.

        Raises: TaskFailedInternally, Unavailable (lost sight of it), Bug (after `abort`).
        """

    @abstractmethod
    async def kill(self) -> Results:
        """Ends it now, with everything that it started, and keeps what it has made so far. When it has ended already,
        gives the Results of that. Nothing of the run is alive when this returns.

        Raises: TaskFailedInternally when something could not be killed.
        """

    @abstractmethod
    async def abort(self) -> None:
        """Ends it now and throws away everything: kill and dispose in one, and may be faster. May be called again.

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
        """What it prints, to the end; with a terminal, also what it prints on stderr. Read it: a full pipe stops it."""

    @property
    @abstractmethod
    def stderr(self) -> AsyncIterator[bytes]: ...

    async def resize(self, rows: int, columns: int) -> None:
        """The size of its terminal in characters. Raises NotSupported without one."""
        raise NotSupported("this command has no terminal")

    @abstractmethod
    async def wait(self) -> int:
        """Its exit status; minus the signal's number when a signal ended it. Every call returns the same."""

    @abstractmethod
    async def abort(self) -> None:
        """Kills it and what it started. May be called again."""
