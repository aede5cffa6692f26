r"""What a run on the fake platform does: a script, in the payload of its task.

A task that takes an hour, prints something every minute, and whose container cannot be killed::

    FakePayload(run_for=3600, log="still here\n", log_every=60, hang_at="kill")
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal

import attrs

from taskrunner.errors import (
    Bug,
    Complaint,
    MalformedPayload,
    TaskFailed,
    TaskFailedInternally,
    Unavailable,
    WorkerBroken,
)

Stage = Literal["", "check", "load", "start", "wait", "kill", "abort", "archive", "deliver", "dispose", "discard"]
"""Where a script goes wrong: in that operation of the engine, its execution or its results. Empty: nowhere.
`new_engine` is missing, since it comes before the payload: set `FakePlatform.engine_error`."""

ErrorKind = Literal["task-failed", "malformed", "unavailable", "internal", "broken", "bug", "crash"]
"""How it goes wrong: one for each of our errors that an engine may raise, and `crash` for what is not one of ours."""


@attrs.frozen
class FakePayload:
    """The script of one run. By default it ends at once, successfully, and leaves nothing."""

    load_for: float = 0
    """Seconds that loading takes."""
    run_for: float = 0
    """Seconds from the start to the end of the command."""
    deliver_for: float = 0
    """Seconds that delivering takes."""
    exit_code: int = 0
    reason: str = ""
    """The `reason` of the results."""
    log: str = ""
    """What the command prints, as it is: a line brings its own line feed."""
    log_every: float = 0
    """Prints the log again each time so many seconds have passed; 0: once, at the start."""
    print_env: tuple[str, ...] = ()
    """Prints these environment variables after the log, a line `NAME=value` for each that is set."""
    print_stdin: bool = False
    """Copies its standard input into the log, and ends when that ends."""
    print_file: str = ""
    """Prints a file of an attached cache."""
    files: Mapping[str, str] = attrs.field(factory=dict)
    """What the command leaves, path to text, made before it prints. A path below the target of an attached cache
    goes to that cache."""
    links: Mapping[str, str] = attrs.field(factory=dict)
    """The same for symbolic links, path to target."""
    result: Mapping[str, str] = attrs.field(factory=dict)
    """What `deliver` returns."""
    fail_at: Stage = ""
    """The operation that raises `error`, each time it is called."""
    error: ErrorKind = "internal"
    hang_at: Stage = ""
    """The operation that does not return, each time it is called. It can be cancelled."""

    async def inject_fault(self, stage: Stage) -> None:
        """Does at this stage what the script says goes wrong there."""
        if stage == self.hang_at:
            await asyncio.get_running_loop().create_future()
        if stage == self.fail_at:
            raise scripted_error(stage, self.error)


def scripted_error(stage: str, kind: ErrorKind) -> Exception:
    """The error of a kind, as a real engine would raise it."""
    why = f"the script says so, at {stage}"
    errors: dict[str, Exception] = {
        "task-failed": TaskFailed("scripted", why),
        "malformed": MalformedPayload(Complaint("fail_at", why, "leave it empty")),
        "unavailable": Unavailable(why),
        "internal": TaskFailedInternally(why),
        "broken": WorkerBroken(why),
        "bug": Bug(why),
        "crash": ZeroDivisionError(why),
    }
    return errors[kind]


__all__ = ["ErrorKind", "FakePayload", "Stage", "scripted_error"]
