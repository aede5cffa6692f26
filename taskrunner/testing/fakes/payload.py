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
"""The operation that a script makes fail or hang: of the engine, its execution or its results. Empty: none.
`new_engine` is missing, because it comes before the payload: set `FakePlatform.engine_error`."""

ErrorKind = Literal["task-failed", "malformed", "unavailable", "internal", "broken", "bug", "crash"]
"""How an operation fails: each error of `taskrunner.errors` that an engine may raise, and `crash` for another one."""


@attrs.frozen
class FakePayload:
    """The script of one run. By default the run ends at once, successfully, and makes no files."""

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
    """What the command prints. Nothing is added to it, also no line feed."""
    log_every: float = 0
    """Seconds after which the log is printed again, and again; 0: it is printed once, at the start."""
    print_env: tuple[str, ...] = ()
    """Prints these environment variables after the log, a line `NAME=value` for each that is set."""
    print_stdin: bool = False
    """Copies the standard input into the log, and ends when the input ends."""
    print_file: str = ""
    """A file of an attached cache, which the command prints."""
    files: Mapping[str, str] = attrs.field(factory=dict)
    """Files that the command makes before it prints, path to text. A path below the target of an attached cache
    is written to that cache."""
    links: Mapping[str, str] = attrs.field(factory=dict)
    """Symbolic links that the command makes, path to target."""
    result: Mapping[str, str] = attrs.field(factory=dict)
    """What `deliver` returns."""
    fail_at: Stage = ""
    """The operation that raises `error`, each time it is called."""
    error: ErrorKind = "internal"
    hang_at: Stage = ""
    """The operation that does not return, each time it is called. The call can be cancelled."""

    async def inject_fault(self, stage: Stage) -> None:
        """Fails or hangs, if the script says so for this stage."""
        if stage == self.hang_at:
            await asyncio.get_running_loop().create_future()
        if stage == self.fail_at:
            raise scripted_error(stage, self.error)


def scripted_error(stage: str, kind: ErrorKind) -> Exception:
    """The error of this kind, as an engine raises it."""
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
