"""A peer of `examples/push_source.py`: one connection over a Unix socket, in lines of JSON."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from pathlib import Path
from typing import Any, Self

from taskrunner.model import Document
from taskrunner.testing.conformance.push_source.client import PeerMessage, PushClient

LINE_LIMIT = 1 << 20
"""Bytes of the longest line: a piece of a log or of an artifact in base64."""


class LineClient(PushClient):
    """Reads a line when it is asked to. The stream behind it reads ahead by at most two lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, path: Path) -> Self:
        return cls(*await asyncio.open_unix_connection(path, limit=LINE_LIMIT))

    async def dispatch(self, task_id: str, document: Document) -> None:
        await self.send({"task": task_id, "document": document})

    async def resume(self, task_id: str) -> None:
        await self.send({"resume": task_id})

    async def cancel(self) -> None:
        await self.send("not wanted any more")

    async def disconnect(self) -> None:
        self._writer.transport.abort()

    async def receive(self) -> PeerMessage:
        try:
            line = await self._reader.readline()
        except ConnectionError:
            line = b""
        if not line:
            raise EOFError
        return _message(json.loads(line))

    async def send(self, message: object) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")
        await self._writer.drain()


def _message(received: dict[str, Any]) -> PeerMessage:
    match received:
        case {"state": str(state)}:
            return PeerMessage("state", state)
        case {"step": str(step)}:
            return PeerMessage("progress", step)
        case {"log": str(chunk)}:
            return PeerMessage("log", data=b64decode(chunk))
        case {"artifact": str(name), "data": str(chunk)}:
            return PeerMessage("artifact", name=name, data=b64decode(chunk))
        case {"answer": str(ending), "message": str(words)}:
            return PeerMessage("answer", f"{ending}: {words}")
        case {"refusal": str(reason), "message": str(words)}:
            return PeerMessage("refusal", f"{reason}: {words}")
    raise AssertionError(received)
