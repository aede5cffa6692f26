"""The worker's side of `exec`: the streams of a command, over a connection of the door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import attrs

from taskrunner.errors import NotSupported
from taskrunner.interfaces.execution import Exec, Input, Size
from taskrunner.worker.door.command_session import CommandSession, cancelled
from taskrunner.worker.door.frames import FrameKind
from taskrunner.worker.door.protocol import DoorError

LINGER = 0.5
"""Seconds without output after which the output of a command that has ended is over: something that it has left behind
holds the other end, and will be killed."""


@attrs.define(eq=False)
class ExecSession(CommandSession):
    """One command beside that of a run. The caller ends it afterwards, however this ends."""

    exec: Exec
    _exited: asyncio.Event = attrs.field(init=False, factory=asyncio.Event)

    @property
    def stdin(self) -> Input:
        return self.exec.stdin

    def copies(self) -> Sequence[Coroutine[Any, Any, None]]:
        return self._copy(FrameKind.OUTPUT, self.exec.stdout), self._copy(FrameKind.ERRORS, self.exec.stderr)

    async def exit_status(self) -> int:
        status = await self.exec.wait()
        self._exited.set()
        return status

    async def resize(self, size: Size) -> None:
        try:
            await self.exec.resize(size.rows, size.columns)
        except NotSupported as error:
            raise DoorError("malformed", str(error)) from None

    async def _copy(self, kind: FrameKind, source: AsyncIterator[bytes]) -> None:
        exited = asyncio.create_task(self._exited.wait())
        reading: asyncio.Task[bytes | None] | None = None
        try:
            while True:
                reading = asyncio.create_task(_next(source))
                await asyncio.wait({reading, exited}, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait({reading}, timeout=LINGER)
                piece = reading.result() if reading.done() else None
                if piece is None:
                    return
                await self.link.send(kind, piece)
        finally:
            await cancelled(exited, *([reading] if reading else []))


async def _next(source: AsyncIterator[bytes]) -> bytes | None:
    return await anext(source, None)
