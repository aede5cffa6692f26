"""AgentPeer: the caller of one invocation, and the stream of messages to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import grpc.aio

from taskrunner.errors import ClaimLost
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.log import LogOrigin
from taskrunner.interfaces.push import Peer
from taskrunner.model import Move, Resolution
from taskrunner.queues.agent.archive import FILENAME, ArchiveStream
from taskrunner.queues.agent.invocation import TRANSITIONS, Event, events_to
from taskrunner.queues.agent.log_messages import LogMessages
from taskrunner.queues.agent.messages import State, artifact_message, error_message, state_message
from taskrunner.queues.agent.stacktrace import Stacktrace
from taskrunner.queues.listening.grpc_messages import Context

SIGNALED = 128
"""An exit status is no negative number on the wire: what a signal has ended is told as shells do."""


class AgentPeer(Peer):
    """Writes to the stream of one call. A write returns when gRPC has room for more, so that a caller that is slow is
    waited for. `over` is set when nothing more will be written."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._state = State.PENDING
        self._completes = False
        """Whether the run is about to succeed."""
        self._log = LogMessages()
        self._trace = Stacktrace()
        self._writing: asyncio.Future[None] | None = None
        self.over = asyncio.Event()

    async def moved(self, move: Move, ending: Resolution | None) -> None:  # noqa: ARG002  a caller knows fewer states
        self._completes = ending is not None and ending.kind == "completed"
        if self._state is State.PENDING:
            await self._go("run")

    async def send_log(self, offset: int, chunk: bytes, origin: LogOrigin | None) -> None:  # noqa: ARG002  no offsets there
        self._trace.add(chunk, origin)
        await self._write_all(self._log.messages(chunk, origin))

    def artifacts(self) -> ArtifactStore | None:
        """Only a run that succeeds has artifacts on the wire."""
        return ArchiveStream(self._finish, self._send_chunk) if self._completes else None

    async def answer(self, resolution: Resolution) -> None:
        trace = self._trace.text if resolution.reason == "internal-error" else ""
        await self._end(self._last_event(resolution), resolution.message, resolution.exit_code or 0, trace)

    async def refuse(self, reason: str, message: str) -> None:  # noqa: ARG002  the message says it
        await self._end("reject", message)

    async def throw(self, message: str) -> None:
        """The invocation is one that no agent can complete."""
        await self._end("throw", message)

    def _last_event(self, resolution: Resolution) -> Event:
        """A command has failed when it has an exit status. A source that cannot be fetched is nothing that it did."""
        if resolution.kind == "completed":
            return "succeed"
        failed = resolution.kind == "failed" and resolution.exit_code is not None
        return "fail" if failed and self._state is not State.FINISHING else "throw"

    async def _end(self, event: Event, description: str, exit_code: int = 0, trace: str = "") -> None:
        try:
            await self._write_all(self._log.rest())
            await self._go(event)
            if event != "succeed":
                status = exit_code if exit_code >= 0 else SIGNALED - exit_code
                await self._write(error_message(description, status, trace))
        finally:
            self.over.set()  # also for a caller that takes nothing: its call ends

    async def _finish(self) -> None:
        if self._state is not State.FINISHING:
            await self._write_all(self._log.rest())
            await self._go("finish")

    async def _send_chunk(self, chunk: bytes) -> None:
        await self._write(artifact_message(FILENAME, chunk))

    async def _go(self, event: Event) -> None:
        for step in events_to(self._state, event):
            self._state = TRANSITIONS[self._state, step]
            await self._write(state_message(self._state))

    async def _write_all(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            await self._write(message)

    async def _write(self, message: bytes) -> None:
        """A cancelled write goes on, and the next one waits for it: gRPC takes one at a time."""
        if self._writing and not self._writing.done():
            await asyncio.wait([self._writing])
        self._writing = asyncio.ensure_future(self._context.write(message))
        self._writing.add_done_callback(_retrieve)
        try:
            await asyncio.shield(self._writing)
        except grpc.aio.BaseError as error:
            raise ClaimLost("disconnected", f"the caller has hung up: {error}") from None


def _retrieve(write: asyncio.Future[None]) -> None:
    """The error of a write that was cancelled has no other reader."""
    if not write.cancelled():
        write.exception()
