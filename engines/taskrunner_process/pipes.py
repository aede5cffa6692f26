"""Pipes and terminals on the event loop."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from taskrunner.interfaces.execution import Input
from taskrunner.interfaces.log import Log, LogStream

PIECE = 1 << 18
"""Bytes at a time, and what the pipe of a logged output holds: four times as much as usual. A command that prints much
and its worker wait for each other less often."""

MAX_PIPE = 1 << 20
"""Bytes that a pipe can hold at most, when its writer has enlarged it (/proc/sys/fs/pipe-max-size)."""

END_OF_FILE = b"\x04"
"""Control-D: what a keyboard sends for it."""


class Descriptor:
    """A file descriptor that does not block, and at most one task that waits for it. `close` wakes the task."""

    def __init__(self, number: int) -> None:
        os.set_blocking(number, False)
        self.number = number
        self._waiting: asyncio.Future[None] | None = None
        self.open = True

    def read(self) -> bytes | None:
        """What can be read now: None for nothing yet, empty at the end. A terminal's end is an error on Linux (EIO)."""
        try:
            return os.read(self.number, PIECE)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""

    def write(self, data: memoryview) -> int:
        """The number of bytes written: 0 when there is no room. Raises BrokenPipeError."""
        if not self.open:
            raise BrokenPipeError(errno.EPIPE, "the input is closed")
        try:
            return os.write(self.number, data)
        except BlockingIOError:
            return 0

    def on_readable(self, call: Callable[[], object]) -> None:
        asyncio.get_running_loop().add_reader(self.number, call)

    async def readable(self) -> None:
        loop = asyncio.get_running_loop()
        await self._wait(loop.add_reader, loop.remove_reader)

    async def writable(self) -> None:
        loop = asyncio.get_running_loop()
        await self._wait(loop.add_writer, loop.remove_writer)

    async def _wait(self, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        add(self.number, self._wake)
        try:
            await self._waiting
        finally:
            if self.open:
                remove(self.number)

    def _wake(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    def close(self) -> None:
        """May be called again."""
        if not self.open:
            return
        self.open = False
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.number)
        loop.remove_writer(self.number)
        os.close(self.number)
        self._wake()


class PipeInput(Input):
    """Writes to a pipe. One writer at a time."""

    def __init__(self, number: int) -> None:
        self.descriptor = Descriptor(number)

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = self.descriptor.write(rest)
            rest = rest[written:]
            if not written:
                await self.descriptor.writable()

    async def close(self) -> None:
        self.descriptor.close()


class TerminalInput(PipeInput):
    """The keyboard of a terminal."""

    async def close(self) -> None:
        if self.descriptor.open:
            await self.write(END_OF_FILE)
        self.descriptor.close()


class PipeOutput:
    """The output of a pipe or terminal, read on demand. One reader at a time."""

    def __init__(self, number: int) -> None:
        self.descriptor = Descriptor(number)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.descriptor.open:
            piece = self.descriptor.read()
            if piece:
                yield piece
            elif piece is None:
                await self.descriptor.readable()
            else:
                self.descriptor.close()


class LoggedOutput:
    """Copies a pipe to the run's log as it comes; memory holds one piece of it at a time."""

    def __init__(self, number: int, log: Log, stream: LogStream, failed: Callable[[Exception], None]) -> None:
        """`failed` is called once when the log cannot be written to; later output is dropped."""
        _enlarge(number)
        self._descriptor = Descriptor(number)
        self._log, self._stream, self._failed = log, stream, failed
        self._broken = False
        self._in_line = False
        self._descriptor.on_readable(self._copy)

    def _copy(self) -> bool:
        """Copies one piece. False: there is nothing now, or it is the end."""
        piece = self._descriptor.read()
        if piece:
            self._write(piece)
        elif piece is not None:
            self._descriptor.close()
        return bool(piece)

    def _write(self, piece: bytes) -> None:
        if self._broken:
            return
        try:
            self._log.write(piece, self._stream)
            self._in_line = not piece.endswith(b"\n")
        except Exception as error:  # noqa: BLE001  it is passed on, and raised where the run is awaited
            self._broken = True
            self._failed(error)

    def copy(self) -> None:
        """Copies what is in the pipe now, while others may write to it without end, and ends its last line."""
        for _ in range(MAX_PIPE // PIECE):
            if not (self._descriptor.open and self._copy()):
                break
        if self._in_line:
            self._write(b"\n")

    def drain(self) -> None:
        """Copies the rest of the pipe, when every writer is dead, and closes it. May be called again."""
        while self._descriptor.open and self._copy():
            pass
        self._descriptor.close()


def _enlarge(pipe: int) -> None:
    """On Linux, where the memory of one user's pipes is 64 MiB: what is beyond stays as it is."""
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIECE)
