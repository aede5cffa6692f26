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
    MachineFault,
    MalformedPayload,
    Reject,
    RunLost,
    TaskFailed,
    TaskFailedInternally,
    Unavailable,
    WorkerBroken,
)

Stage = Literal["", "check", "load", "start", "wait", "kill", "abort", "archive", "deliver", "dispose", "discard"]
"""The operation that a script makes fail or hang: of the engine, its execution or its results. Empty: none.
`new_engine` is missing, because it comes before the payload: set `FakePlatform.engine_error`."""

ErrorKind = Literal[
    "task-failed", "malformed", "reject", "unavailable", "run-lost", "internal", "machine", "broken", "bug", "crash"
]
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
    memory: int = 0
    """Bytes that the command needs. With a smaller limit it is killed, before it prints."""
    processes: int = 0
    """Processes that the command starts. With a smaller limit it fails, before it prints."""
    exit_code: int = 0
    reason: str = ""
    """The `reason` of the results."""
    log: str = ""
    """What the command prints. Nothing is added to it, also no line feed."""
    log_every: float = 0
    """Seconds after which the log is printed again, and again; 0: it is printed once, at the start."""
    log_after: str = ""
    """What the command prints at its end."""
    print_env: tuple[str, ...] = ()
    """Prints these environment variables after the log, a line `NAME=value` for each that is set."""
    print_stdin: bool = False
    """Copies the standard input into the log, and ends when the input ends."""
    print_file: str = ""
    """A file of the run or of an attached cache, which the command prints."""
    fetch: str = ""
    """A URL of a proxy or a service, which the command gets and prints. `$NAME` is an environment variable."""
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
        "reject": Reject(60.0, why),
        "malformed": MalformedPayload(Complaint("fail_at", why, "leave it empty")),
        "unavailable": Unavailable(why),
        "run-lost": RunLost(why),
        "internal": TaskFailedInternally(why),
        "machine": MachineFault(why),
        "broken": WorkerBroken(why),
        "bug": Bug(why),
        "crash": ZeroDivisionError(why),
    }
    return errors[kind]


__all__ = ["ErrorKind", "FakePayload", "Stage", "scripted_error"]
