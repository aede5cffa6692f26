"""A proxy of Docker, which can stop answering, cut its answers, or close all connections as a daemon that restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

DOCKER = "/var/run/docker.sock"

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnot found"


class DockerProxy:
    """A proxy that listens."""

    def __init__(self, hidden: bytes = b"") -> None:
        self._hidden = hidden
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers = set[asyncio.StreamWriter]()
        self._refuses, self._longest = False, 1 << 62

    async def refuse(self) -> None:
        """Closes all connections, and new ones at once, until `recover`."""
        self._refuses = True
        await self.close_all()

    async def cut(self, longest: int) -> None:
        """Closes all connections, and new ones after so many bytes of the answer, until `recover`."""
        self._longest = longest
        await self.close_all()

    async def recover(self) -> None:
        """Serves new connections as at first. Those that were frozen are closed."""
        self._refuses, self._longest = False, 1 << 62
        await self.close_all()

    def freeze(self) -> None:
        """Stops all connections, without closing them."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    async def close_all(self) -> None:
        """Ends every connection; new ones are served."""
        self._flowing.set()
        writers, self._writers = self._writers, set()
        for writer in writers:
            _abort(writer)
        for writer in writers:
            with suppress(OSError):
                await writer.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.close()
            return
        self._writers.add(writer)
        head = await reader.readuntil(b"\r\n\r\n") if self._hidden else b""
        if self._hidden and self._hidden in head.split(b"\r\n", 1)[0]:
            writer.write(NOT_FOUND)
            writer.close()
            return
        from_docker, to_docker = await asyncio.open_unix_connection(DOCKER)
        self._writers.add(to_docker)
        to_docker.write(head)
        with suppress(OSError):
            longest = self._longest
            await asyncio.gather(self._copy(reader, to_docker), self._copy(from_docker, writer, longest))
        for end in (writer, to_docker):
            end.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, longest: int = 1 << 62) -> None:
        while longest > 0 and (data := await reader.read(min(longest, 1 << 16))):
            await self._flowing.wait()
            if writer.is_closing():
                return
            writer.write(data)
            await writer.drain()
            longest -= len(data)
        if not writer.is_closing():
            writer.write_eof()


def _abort(writer: asyncio.StreamWriter) -> None:
    """What nobody reads would keep it open. asyncio fails for a connection that has ended after a `close` which had to
    wait for its last bytes."""
    with suppress(AttributeError):
        writer.transport.abort()


@asynccontextmanager
async def docker_proxy(socket: Path, hidden: bytes = b"") -> AsyncIterator[DockerProxy]:
    """`hidden`: a part of the path of requests that are answered with 404."""
    proxy = DockerProxy(hidden)
    async with await asyncio.start_unix_server(proxy.serve, str(socket)):
        try:
            yield proxy
        finally:
            await proxy.close_all()
