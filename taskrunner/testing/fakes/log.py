"""MemoryLog: a log in memory."""

from __future__ import annotations

import asyncio
import threading

from taskrunner.interfaces.log import Log
from taskrunner.log.masking import Masker


class MemoryLog(Log):
    """A log that can be read at any time. Secrets are masked when it is read, across the borders of calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._raw = bytearray()
        self._masker = Masker()
        self._ended = False
        self._readers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def write(self, data: bytes) -> None:
        with self._lock:
            if not self._ended:
                self._raw += data
            readers, self._readers = self._readers, []
        for loop, more in readers:
            loop.call_soon_threadsafe(more.set)

    def mask(self, secret: str) -> None:
        with self._lock:
            self._masker.add(secret)

    def end(self) -> None:
        """Ends the log: later writes are ignored."""
        self._ended = True

    @property
    def data(self) -> bytes:
        """Everything so far, without the secrets."""
        with self._lock:
            return self._masker.whole(bytes(self._raw))

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
