"""A proxy of Docker, which can stop answering, or close all connections as a daemon does that restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

DOCKER = "/var/run/docker.sock"


class DockerProxy:
    """A proxy that listens."""

    def __init__(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers = set[asyncio.StreamWriter]()

    def freeze(self) -> None:
        """Stops all connections, without closing them."""
        self._flowing.clear()

    async def close_all(self) -> None:
        """Ends every connection; new ones are served."""
        self._flowing.set()
        writers, self._writers = self._writers, set()
        for writer in writers:
            writer.close()
        for writer in writers:
            with suppress(OSError):
                await writer.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_docker, to_docker = await asyncio.open_unix_connection(DOCKER)
        self._writers |= {writer, to_docker}
        with suppress(OSError):
            await asyncio.gather(self._copy(reader, to_docker), self._copy(from_docker, writer))
        for end in (writer, to_docker):
            end.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        if not writer.is_closing():
            writer.write_eof()


@asynccontextmanager
async def docker_proxy(socket: Path) -> AsyncIterator[DockerProxy]:
    proxy = DockerProxy()
    async with await asyncio.start_unix_server(proxy.serve, str(socket)):
        try:
            yield proxy
        finally:
            await proxy.close_all()
