"""The request of `exec`: it starts a command in a run, and serves its streams."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import attrs
from attrs.validators import min_len

from taskrunner.errors import Complaint, MalformedPayload, NotSupported, TaskFailed, TaskFailedInternally
from taskrunner.interfaces.execution import Size
from taskrunner.runs.operator.exec import ExecCommand
from taskrunner.worker.door.exec_session import ExecSession
from taskrunner.worker.door.frames import MOST_CELLS, Link
from taskrunner.worker.door.protocol import DoorError, Fault, encode

if TYPE_CHECKING:
    from taskrunner.worker.door.verbs import Operable


def _fits(_: object, attribute: attrs.Attribute[Size | None], size: Size | None) -> None:
    if size and not (0 <= size.rows <= MOST_CELLS and 0 <= size.columns <= MOST_CELLS):
        raise MalformedPayload(Complaint(attribute.name, f"rows and columns are from 0 to {MOST_CELLS}"))


def _no_zeros(_: object, attribute: attrs.Attribute[tuple[str, ...]], words: tuple[str, ...]) -> None:
    for index, word in enumerate(words):
        if "\0" in word:
            raise MalformedPayload(Complaint(f"{attribute.name}[{index}]", "holds a zero byte", "no program takes one"))


@attrs.frozen
class ExecRequest:
    """A command beside that of a run."""

    task_id: str
    command: tuple[str, ...] = attrs.field(validator=[min_len(1), _no_zeros])
    run_id: int | None = None
    tty: Size | None = attrs.field(default=None, validator=_fits)
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    cwd: str = ""

    async def serve(self, worker: Operable, link: Link, who: str) -> None:
        """Returns when the command has ended. Raises: DoorError (nothing was started), ClientGone, OSError."""
        async with AsyncExitStack() as stack:
            try:
                run = worker.operated_run(self.task_id, self.run_id)
                command = ExecCommand(self.command, self.tty, self.env, self.cwd)
                begun = await stack.enter_async_context(run.execs.running(run, command, who))
            except (TaskFailed, NotSupported, MalformedPayload, TaskFailedInternally) as error:
                raise _refusal(error) from error
            link.writer.write(encode(ok=True))
            await ExecSession(link, begun).serve()


def _refusal(error: Exception) -> DoorError:
    if isinstance(error, NotSupported):
        what = "nothing can be started beside this run (a build has no place for it)"
        return DoorError("not-supported", f"{what}: {error}")
    fault: Fault = "not-started"
    if isinstance(error, MalformedPayload):
        fault = "malformed"
    elif isinstance(error, TaskFailed) and error.reason in {"not-running", "run-ended"}:
        fault = "not-running"
    return DoorError(fault, str(error))
