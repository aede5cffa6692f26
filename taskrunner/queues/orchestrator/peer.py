"""OrchestratorPeer: the caller of one job, who gets one message, at its end."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio

from taskrunner.errors import ClaimLost
from taskrunner.interfaces.log import LogOrigin
from taskrunner.interfaces.push import Peer
from taskrunner.model import Document, Move, Progress, Resolution
from taskrunner.queues.listening.grpc_messages import Context
from taskrunner.queues.orchestrator.log_tail import LogTail
from taskrunner.queues.orchestrator.messages import JobResponse
from taskrunner.queues.orchestrator.request import MAX_JOB_ID
from taskrunner.queues.orchestrator.steps import StepWatch

BUSY = "worker is currently busy"
"""The message of the status with which a worker does not take a job. Orchestrators know this text."""

LONGEST_ERROR = 16 << 10
"""Characters of an error in a response, so that there is room for the log."""


class OrchestratorPeer(Peer):
    """Keeps the end of the log until the job has ended. `over` is set when its call is."""

    def __init__(self, context: Context, job_id: str) -> None:
        self._context, self._job_id = context, job_id
        self._steps = StepWatch()
        self._log = LogTail()
        self._refusal = ""
        self.over = asyncio.Event()

    def expect(self, *, aws: bool) -> None:
        """Before the job is offered: whether its registry is Amazon's."""
        self._steps.aws = aws

    async def moved(self, move: Move, ending: Resolution | None) -> None:
        self._steps.moved(move.target, ending)

    async def progress(self, progress: Progress) -> None:
        self._steps.progress(progress)

    async def send_log(self, offset: int, chunk: bytes, origin: LogOrigin | None) -> None:  # noqa: ARG002  one text
        self._log.add(chunk)

    async def answer(self, resolution: Resolution) -> None:
        if resolution.kind == "completed":
            await self._respond(success=True, imageUrl=_image_url(resolution.result))
        else:
            await self.fail(self._steps.error(resolution))

    async def refuse(self, reason: str, message: str) -> None:
        """The job has not begun: the orchestrator gives it to another worker, as with one that is busy."""
        self._refusal = BUSY if reason == "busy" else f"{BUSY}: {message}"
        self.over.set()

    async def fail(self, error: str) -> None:
        await self._respond(success=False, error=error[:LONGEST_ERROR])

    async def finish(self) -> None:
        """Waits for the end of the job. A refused one ends its call with a status."""
        await self.over.wait()
        if self._refusal:
            await self._context.abort(grpc.StatusCode.UNKNOWN, self._refusal)

    async def _respond(self, **fields: Any) -> None:
        """Raises: ClaimLost."""
        try:
            await self._context.write(JobResponse(jobId=self._job_id[:MAX_JOB_ID], logs=self._log.text(), **fields))
        except grpc.aio.BaseError as error:
            raise ClaimLost("disconnected", f"the orchestrator has hung up: {error}") from None
        finally:
            self.over.set()  # also for a caller that takes nothing: its call ends


def _image_url(result: Document) -> str:
    """The name of the image, with its registry in front."""
    match result:
        case {"images": [{"name": str(name)}, *_]}:
            return name
    return ""
