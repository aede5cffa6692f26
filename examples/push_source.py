"""A push source: peers dispatch tasks over a Unix socket, one connection each, in lines of JSON.

`taskrunner run --queue lines:///run/lines.sock` serves it, once a package offers `LineQueue` as the queue `lines`.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from contextlib import closing, suppress
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit
from weakref import WeakSet

import taskrunner as tr


class LineSource(tr.PushSource):
    def __init__(self, path: str) -> None:
        self.path = path

    async def serve(self, credits: tr.Credits) -> None:
        writers: WeakSet[asyncio.StreamWriter] = WeakSet()
        try:
            connected = partial(self._connected, credits, writers)
            server = await asyncio.start_unix_server(connected, self.path, limit=2 << 20)  # no task is larger
        except OSError as error:
            raise tr.Unavailable(f"cannot listen at {self.path}: {error}") from error
        try:
            await server.serve_forever()
        finally:
            for writer in writers:  # the server waits for its connections to end
                writer.close()

    async def _connected(self, credits: tr.Credits, writers: WeakSet[Any], reader: Any, writer: Any) -> None:
        writers.add(writer)
        writer.transport.set_write_buffer_limits(high=0)  # so that `drain` waits for the peer
        with closing(writer), suppress(tr.ClaimLost, ConnectionError):
            try:
                await self.converse(credits, reader, LinePeer(writer))
            except (ValueError, KeyError, TypeError) as error:
                await LinePeer(writer).refuse("malformed", f"no task in a line of JSON: {error!r}")

    # One connection: a task, then perhaps a line that cancels it, and the end.
    async def converse(self, credits: tr.Credits, reader: asyncio.StreamReader, peer: LinePeer) -> None:
        message = json.loads(await reader.readline())
        outcome = credits.offer(tr.Offer(tr.Submission(message["task"], message["document"]), peer))
        if isinstance(outcome, tr.OfferRefused):
            await peer.refuse(outcome.reason, outcome.why)
            return
        with suppress(ConnectionError):  # a broken connection is one that has ended
            while line := await reader.readline():
                credits.withdraw(outcome.run, canceled=True, why=line.decode(errors="replace").strip())
        credits.withdraw(outcome.run, canceled=False, why="the peer closed the connection")


class LinePeer(tr.Peer):
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer

    async def send(self, **message: str | None) -> None:
        try:
            self.writer.write(json.dumps(message).encode() + b"\n")
            await self.writer.drain()
        except ConnectionError as error:
            raise tr.ClaimLost("disconnected", str(error)) from error

    async def moved(self, move: tr.Move, ending: tr.Resolution | None) -> None:
        await self.send(state=move.target)

    async def send_log(self, offset: int, chunk: bytes, origin: tr.LogOrigin | None) -> None:
        await self.send(log=b64encode(chunk).decode(), stream=origin.stream if origin else None)

    def artifacts(self) -> tr.ArtifactStore:
        return LineStream(self)

    async def answer(self, resolution: tr.Resolution) -> None:
        await self.send(answer=str(resolution), message=resolution.message)

    async def refuse(self, reason: str, message: str) -> None:
        await self.send(refusal=reason, message=message)


class LineStream(tr.ArtifactStream):
    def __init__(self, peer: LinePeer) -> None:
        self.peer = peer

    async def put(self, run: tr.RunKey, name: str, body: Any, **about: Any) -> tr.Artifact:
        async for chunk in body:
            await self.peer.send(artifact=name, data=b64encode(chunk).decode())
        return tr.Artifact(name, about["size"], None)


class LineQueue(tr.PushQueue):
    @classmethod
    async def open(cls, options: tr.NoOptions, context: tr.QueueContext) -> Self:
        return cls(LineSource(urlsplit(context.url).path), context.worker_id, context.home)
