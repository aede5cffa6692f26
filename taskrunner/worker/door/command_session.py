"""What the sessions of all commands have in common: the frames of a client, and the end of its connection."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from typing import Any

import attrs

from taskrunner.errors import TaskFailed, TaskFailedInternally
from taskrunner.interfaces.execution import Input, Size
from taskrunner.worker.door.frames import FrameKind, Link, pack_status, unpack_size
from taskrunner.worker.door.input_window import InputWindow
from taskrunner.worker.door.protocol import DoorError

PARTING = 1.0
"""Seconds for a client to close its connection after the last frame. If the worker closed it first, what the client was
about to send would fail there, and the last frame would be lost with it."""


class ClientGone(Exception):
    """The client has closed its connection before the command ended."""


@attrs.define(eq=False)
class CommandSession(ABC):
    """Serves one command to one client, over a connection that a verb has taken over."""

    link: Link
    input: InputWindow = attrs.field(init=False, factory=InputWindow)

    @property
    @abstractmethod
    def stdin(self) -> Input: ...

    @abstractmethod
    def copies(self) -> Sequence[Coroutine[Any, Any, None]]:
        """The work of sending the output: over when everything was sent."""

    @abstractmethod
    async def exit_status(self) -> int:
        """Waits for it. Raises TaskFailed, TaskFailedInternally."""

    @abstractmethod
    async def resize(self, size: Size) -> None:
        """Raises DoorError without a terminal."""

    async def client_gone(self, listening: asyncio.Task[None], feeding: asyncio.Task[None]) -> None:  # noqa: B027  a hook
        """Called when the client has closed its connection; then both tasks are cancelled."""

    async def serve(self) -> None:
        """Returns when the client has got everything up to the exit status.

        A client that does not keep to the protocol gets a failure instead. Raises: ClientGone, OSError.
        """
        listening = asyncio.create_task(self._listen())
        feeding = asyncio.create_task(self.input.feed(self.stdin, self.link))
        copying = [asyncio.create_task(copy) for copy in self.copies()]
        exiting = asyncio.create_task(self.exit_status())
        try:
            await _until_done({exiting, *copying}, beside={listening, feeding})
            await self.link.send(FrameKind.EXIT, pack_status(exiting.result()))
            await asyncio.wait({listening}, timeout=PARTING)
        except (TaskFailed, TaskFailedInternally, DoorError) as error:
            await self.link.send(FrameKind.FAILED, str(error).encode())
        except (ClientGone, OSError):
            await self.client_gone(listening, feeding)
            raise
        finally:
            await cancelled(listening, feeding, *copying, exiting)

    async def _listen(self) -> None:
        """Takes what the client sends."""
        while frame := await self.link.receive():
            kind, data = frame
            if kind is FrameKind.INPUT:
                self.input.put(data)
            elif kind is FrameKind.INPUT_END:
                self.input.end()
            elif kind is FrameKind.SIZE:
                await self.resize(unpack_size(data))
            else:
                raise DoorError("malformed", f"a client sends no frame of the kind {kind.value.decode()}")
        raise ClientGone


async def _until_done(tasks: set[asyncio.Task[Any]], *, beside: set[asyncio.Task[Any]]) -> None:
    """Waits for all `tasks`. Raises the first error of them, and of those beside."""
    while tasks:
        done, _ = await asyncio.wait(tasks | beside, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        tasks, beside = tasks - done, beside - done


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks, and waits for their ends."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
