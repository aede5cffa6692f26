"""The request of `attach`: it serves the input and the output of the command of a run."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import attrs

from taskrunner.errors import NotSupported, TaskFailed
from taskrunner.worker.door.attach_session import AttachSession
from taskrunner.worker.door.frames import Link
from taskrunner.worker.door.protocol import DoorError, Fault, encode

if TYPE_CHECKING:
    from taskrunner.worker.door.verbs import Operable

FAULTS: dict[str, Fault] = {"not-running": "not-running", "attached": "busy", "input-ended": "not-supported"}
"""The reasons of `OperatorAttach.attached`."""


@attrs.frozen
class AttachRequest:
    """The command of an interactive run."""

    task_id: str
    run_id: int | None = None

    async def serve(self, worker: Operable, link: Link, who: str) -> None:
        """Returns when the command has ended. Raises: DoorError (it cannot be attached to), ClientGone, OSError."""
        async with AsyncExitStack() as stack:
            try:
                run = worker.operated_run(self.task_id, self.run_id)
                command = await stack.enter_async_context(run.attach.attached(run, who))
            except NotSupported as error:
                raise DoorError("not-supported", str(error)) from error
            except TaskFailed as error:
                raise DoorError(FAULTS[error.reason], str(error)) from error
            link.writer.write(encode(ok=True))
            await AttachSession(link, command).serve()
