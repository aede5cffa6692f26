"""The pipes of a process in a container: its input and its output."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from taskrunner.interfaces.execution import Input
from taskrunner_docker.api.async_stream import Stream

_PIECES = 16
"""Pieces of output, each of at most `async_stream.BUFFER` bytes, that wait for a reader before the process waits."""


class StreamInput(Input):
    """Standard input over the connection to a process."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._closed = False

    async def write(self, data: bytes) -> None:
        writer = self._stream.writer
        if self._closed or writer.is_closing():
            raise BrokenPipeError("this standard input has no reader any more")
        try:
            writer.write(data)
            await writer.drain()
        except ConnectionError:
            raise BrokenPipeError("this standard input has no reader any more") from None

    async def close(self) -> None:
        if not self._closed and not self._stream.writer.is_closing():
            self._stream.writer.write_eof()
        self._closed = True


class OutputPipe(AsyncIterator[bytes]):
    """Output for one reader. When it is full, its writer waits."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._readable, self._writable = asyncio.Event(), asyncio.Event()
        self._ended = self._discarded = False

    async def put(self, piece: bytes) -> None:
        while len(self._pieces) >= _PIECES and not self._discarded:
            self._writable.clear()
            await self._writable.wait()
        if not self._discarded:
            self._pieces.append(piece)
            self._readable.set()

    def end(self) -> None:
        """No more output follows."""
        self._ended = True
        self._readable.set()

    def discard(self) -> None:
        """There is no reader any more: all output is dropped."""
        self._discarded = True
        self._pieces.clear()
        self._writable.set()

    def peek(self) -> bytes:
        """The output that is not read yet."""
        return b"".join(self._pieces)

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._ended:
                raise StopAsyncIteration
            self._readable.clear()
            await self._readable.wait()
        self._writable.set()
        return self._pieces.popleft()
