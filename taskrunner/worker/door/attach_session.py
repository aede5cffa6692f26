"""The worker's side of `attach`: the input and the output of the command of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from typing import Any

import attrs

from taskrunner.interfaces.execution import Input, Size
from taskrunner.runs.operator.attach import AttachedCommand
from taskrunner.worker.door.command_session import CommandSession
from taskrunner.worker.door.frames import FrameKind
from taskrunner.worker.door.protocol import DoorError

LAST_INPUT = 1.0
"""Seconds for the command to take what a client had sent before it went."""


@attrs.define(eq=False)
class AttachSession(CommandSession):
    """The command goes on when the client goes."""

    command: AttachedCommand
    _shown: asyncio.Event = attrs.field(init=False, factory=asyncio.Event)

    @property
    def stdin(self) -> Input:
        return self.command.stdin

    def copies(self) -> Sequence[Coroutine[Any, Any, None]]:
        return (self._show(),)

    async def exit_status(self) -> int:
        await self._shown.wait()
        return await self.command.wait()

    async def resize(self, size: Size) -> None:  # noqa: ARG002  there is nothing that has one
        raise DoorError("malformed", "the command of a run has no terminal")

    async def client_gone(self, listening: asyncio.Task[None], feeding: asyncio.Task[None]) -> None:
        await asyncio.wait({listening}, timeout=LAST_INPUT)
        self.input.client_gone()
        await asyncio.wait({feeding}, timeout=LAST_INPUT)

    async def _show(self) -> None:
        async with aclosing(self.command.output()) as pieces:
            async for stream, data in pieces:
                await self.link.send(FrameKind.ERRORS if stream in {"stderr", "worker"} else FrameKind.OUTPUT, data)
        self._shown.set()
