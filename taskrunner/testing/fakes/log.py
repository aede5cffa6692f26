"""MemoryLog: a log in memory."""

from __future__ import annotations

import asyncio
import threading
from typing import get_args

from taskrunner.interfaces.log import Log, LogStream, OutputMasker
from taskrunner.log.masking import Masker, StreamMasker


class MemoryLog(Log):
    """A log that can be read at any time. Secrets are masked when it is read, across the borders of calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._raw: list[tuple[LogStream, bytearray]] = []
        self._masker = Masker()
        self._maskers = 0
        self._ended = False
        self._readers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def write(self, data: bytes, stream: LogStream = "stdout") -> None:
        with self._lock:
            if not self._ended:
                self._append(data, stream)
            readers, self._readers = self._readers, []
        for loop, more in readers:
            loop.call_soon_threadsafe(more.set)

    def _append(self, data: bytes, stream: LogStream) -> None:
        if self._raw and self._raw[-1][0] == stream:
            self._raw[-1][1].extend(data)
        else:
            self._raw.append((stream, bytearray(data)))

    def mask(self, secret: str) -> None:
        with self._lock:
            self._masker.add(secret)

    def new_masker(self) -> OutputMasker:
        self._maskers += 1
        return StreamMasker(self._masker, f"masker {self._maskers}", self._lock)

    def end(self) -> None:
        """Ends the log: later writes are ignored."""
        self._ended = True

    @property
    def pieces(self) -> list[tuple[LogStream, bytes]]:
        """Everything so far, without the secrets, each piece with its stream."""
        with self._lock:
            decided = [(stream, self._masker.feed(bytes(data), stream)) for stream, data in self._raw]
            held: list[tuple[LogStream, bytes]] = [
                (stream, self._masker.flush(stream)) for stream in get_args(LogStream)
            ]
        return [piece for piece in (*decided, *held) if piece[1]]

    @property
    def data(self) -> bytes:
        """The same as bytes."""
        return b"".join(data for _, data in self.pieces)

    @property
    def text(self) -> str:
        """The same as text; bytes that are no UTF-8 become `�`."""
        return self.data.decode(errors="replace")

    async def until(self, text: str) -> None:
        """Waits until the log contains this text."""
        while True:
            more = asyncio.Event()
            with self._lock:
                self._readers.append((asyncio.get_running_loop(), more))
            if text in self.text:
                return
            await more.wait()


__all__ = ["MemoryLog"]
