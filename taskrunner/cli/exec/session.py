"""The client's side of a command: its streams are those of this program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress

import attrs

from taskrunner.cli.exec import streams, terminal
from taskrunner.errors import Unavailable
from taskrunner.worker.door.frames import WINDOW, FrameKind, Link, pack_size, unpack_status, unpack_taken

STDIN, STDOUT, STDERR = 0, 1, 2


@attrs.define(eq=False)
class ClientSession:
    """Copies the streams until the command ends."""

    link: Link
    tty: bool
    shown: Callable[[int, bytes], bytes] = lambda _, data: data
    """Makes of what came for a stream what is written there."""
    _room: int = WINDOW
    """Bytes of input that may be sent before the worker answers."""
    _taken: asyncio.Event = attrs.field(factory=asyncio.Event)
    _resized: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def run(self) -> int:
        """The exit status of the command; minus the number of a signal that ended it.

        Raises: Unavailable (the connection is lost, or the worker says why it cannot go on), BrokenPipeError (of this
        program's own output), DoorError.
        """
        with ExitStack() as restoring:
            helpers = [asyncio.create_task(self._send_input())]
            if self.tty:
                restoring.enter_context(terminal.raw(STDIN))
                restoring.enter_context(terminal.on_resize(self._resized.set))
                helpers.append(asyncio.create_task(self._send_sizes()))
            try:
                return await self._copy_output()
            finally:
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)

    async def _copy_output(self) -> int:
        while frame := await self._receive():
            kind, data = frame
            if kind is FrameKind.OUTPUT:
                await streams.write(STDOUT, self.shown(STDOUT, data))
            elif kind is FrameKind.ERRORS:
                await streams.write(STDERR, self.shown(STDERR, data))
            elif kind is FrameKind.TAKEN:
                self._room += unpack_taken(data)
                self._taken.set()
            elif kind is FrameKind.EXIT:
                return unpack_status(data)
            elif kind is FrameKind.FAILED:
                raise Unavailable(data.decode(errors="replace"))
        raise Unavailable("the worker has closed the connection: it has stopped, or was killed")

    async def _receive(self) -> tuple[FrameKind, bytes] | None:
        try:
            return await self.link.receive()
        except OSError as error:
            raise Unavailable(f"the connection to the worker is lost: {error.strerror or error}") from None

    async def _send_input(self) -> None:
        with suppress(ConnectionError):  # the other coroutine finds that out too
            while data := await _read_input():
                await self._wait_for_room(len(data))
                await self.link.send(FrameKind.INPUT, data)
            if self.tty:
                self.link.writer.transport.abort()  # the terminal has gone, and the command goes with it
            else:
                await self.link.send(FrameKind.INPUT_END)

    async def _wait_for_room(self, size: int) -> None:
        while self._room < size:
            self._taken.clear()
            await self._taken.wait()
        self._room -= size

    async def _send_sizes(self) -> None:
        with suppress(OSError):
            while True:
                await self._resized.wait()
                self._resized.clear()
                await self.link.send(FrameKind.SIZE, pack_size(terminal.size_of(STDIN)))


async def _read_input() -> bytes:
    """The next bytes; empty at the end, or when no more can be read: the terminal has gone."""
    try:
        return await streams.read(STDIN)
    except OSError:
        return b""
