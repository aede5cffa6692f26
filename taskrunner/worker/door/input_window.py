"""InputWindow: the input of a client that its command has not taken yet."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from taskrunner.interfaces.execution import Input
from taskrunner.worker.door.frames import WINDOW, FrameKind, Link, pack_taken
from taskrunner.worker.door.protocol import DoorError


class InputWindow:
    """Holds at most `WINDOW` bytes. One coroutine puts, another one feeds the command."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._ended = self._gone = False
        self._changed = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Raises DoorError when the client sends more than it may."""
        if self._held + len(data) > WINDOW:
            raise DoorError("malformed", f"more than {WINDOW:,} bytes of input were sent without an answer")
        self._held += len(data)
        self._pieces.append(data)
        self._changed.set()

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    def client_gone(self) -> None:
        """Nothing more is put, and nobody reads the answers."""
        self._gone = True
        self._changed.set()

    async def feed(self, stdin: Input, link: Link) -> None:
        """Writes the input to the command, and answers each piece. What a command does not read any more is dropped.
        Returns when the input has ended, or everything is written of a client that has gone. Who listens to the client
        finds that out."""
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                with suppress(BrokenPipeError):  # the command has closed its input, and may go on
                    await stdin.write(piece)
                self._held -= len(piece)
                if not self._gone:
                    with suppress(OSError):
                        await link.send(FrameKind.TAKEN, pack_taken(len(piece)))
            if self._ended:
                with suppress(BrokenPipeError):
                    await stdin.close()
            if self._ended or self._gone:
                return
            self._changed.clear()
            await self._changed.wait()
