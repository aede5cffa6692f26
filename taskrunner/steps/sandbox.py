"""StepSandbox: what an engine provides to run steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import attrs


@attrs.frozen
class StepCommand:
    """A step that is to be started."""

    number: int
    """1 for the first."""
    command: Sequence[str]
    """The program and its arguments."""
    env: Mapping[str, str] = attrs.field(repr=False)
    """The variables of the task, of earlier steps and of this one; the engine adds what it gives every run."""
    working_dir: str = ""
    """As the author of the task wrote it; empty for the folder of the run."""


class RunningStep(ABC):
    """A step that has started. Everything that it writes goes to the log of the run."""

    @abstractmethod
    async def wait(self) -> int:
        """Waits for the exit status: minus the signal's number when a signal ended it. What the step has written until
        then is in the log when this returns, with a line feed at its end. Cancelling it ends the wait only.

        Raises: TaskFailedInternally, Unavailable.
        """

    @abstractmethod
    async def abort(self) -> None:
        """Kills the step and what it has started. Nothing of it is alive when this returns.

        Raises: TaskFailedInternally when something could not be killed.
        """


class StepSandbox(ABC):
    """Starts the steps of one run, one after the other."""

    run_folder: str
    """`${RUN_FOLDER}`: the folder of the run, as the steps see it."""
    step_folder: str
    """The folder of the `StepFiles`, as the steps see it."""

    @abstractmethod
    async def start(self, step: StepCommand) -> RunningStep:
        """Starts one step. Processes that an earlier one has left running go on. Called by one coroutine; when it is
        cancelled, it undoes what it has begun.

        Raises: TaskFailed (this step cannot be started, and has failed), TaskFailedInternally, Unavailable.
        """
