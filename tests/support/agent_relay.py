"""A relay between a caller and an agent that can close one half of the connection: nothing more comes from the caller,
who still reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs

PIECE = 1 << 16


@attrs.define(eq=False)
class Relay:
    """Of one caller."""

    agent: int
    """Its port."""
    port: int = 0
    _writers: list[asyncio.StreamWriter] = attrs.field(factory=list)
    """To the agent, and to the caller."""
    _pumps: list[asyncio.Task[None]] = attrs.field(factory=list)

    async def half_close(self) -> None:
        """What the caller sends from now on goes nowhere."""
        asking = self._pumps[0]
        asking.cancel()
        await asyncio.wait([asking])
        self._writers[0].write_eof()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asks = await asyncio.open_connection("127.0.0.1", self.agent)
        self._writers += [asks, writer]
        self._pumps += [asyncio.create_task(_pump(reader, asks)), asyncio.create_task(_pump(answers, writer))]

    async def close(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        for writer in self._writers:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(PIECE):
            target.write(data)
            await target.drain()
    except ConnectionError:
        """One of both has gone."""


@asynccontextmanager
async def relay(agent: int) -> AsyncIterator[Relay]:
    relaying = Relay(agent)
    server = await asyncio.start_server(relaying.connected, "127.0.0.1", 0)
    relaying.port = server.sockets[0].getsockname()[1]
    try:
        yield relaying
    finally:
        server.close()
        await relaying.close()
