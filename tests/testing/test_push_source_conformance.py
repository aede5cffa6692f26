"""The push sources of this project keep their contract: a scripted one in virtual time, and two over a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from taskrunner.errors import ClaimLost
from taskrunner.interfaces.log import LogOrigin
from taskrunner.interfaces.push import ArtifactStream, Credits, Offer, OfferRefused, Peer, PushSource
from taskrunner.interfaces.queue import Queue
from taskrunner.model import Artifact, Document, Move, Progress, Resolution, RunKey, Submission
from taskrunner.queues.push.queue import PushQueue
from taskrunner.testing import PushSourceConformance, clock
from taskrunner.testing.conformance.push_source.client import PeerMessage, PushClient
from tests.support.line_client import LineClient
from tests.support.line_source import KeepingLineSource, LineSource


class WaitingSource(PushSource):
    """A source without a network: a message is taken when the client receives it."""

    def __init__(self) -> None:
        self.credits: Credits | None = None
        self.runs: dict[str, RunKey] = {}

    async def serve(self, credits: Credits) -> None:  # noqa: A002  the interface's word
        self.credits = credits
        await asyncio.get_running_loop().create_future()


class WaitingPeer(Peer):
    def __init__(self) -> None:
        self.messages: asyncio.Queue[PeerMessage] = asyncio.Queue(maxsize=1)
        self.gone = False

    async def send(self, message: PeerMessage) -> None:
        if self.gone:
            raise ClaimLost("disconnected")
        await self.messages.put(message)
        await self.messages.join()

    async def moved(self, move: Move, ending: Resolution | None) -> None:
        await self.send(PeerMessage("state", move.target))

    async def progress(self, progress: Progress) -> None:
        await self.send(PeerMessage("progress", progress.step))

    async def send_log(self, offset: int, chunk: bytes, origin: LogOrigin | None) -> None:
        await self.send(PeerMessage("log", data=chunk))

    def artifacts(self) -> WaitingStream:
        return WaitingStream(self)

    async def answer(self, resolution: Resolution) -> None:
        await self.send(PeerMessage("answer", f"{resolution}: {resolution.message}"))

    async def refuse(self, reason: str, message: str) -> None:
        await self.send(PeerMessage("refusal", f"{reason}: {message}"))


class WaitingStream(ArtifactStream):
    def __init__(self, peer: WaitingPeer) -> None:
        self._peer = peer

    async def put(self, run: RunKey, name: str, body: Any, **about: Any) -> Artifact:
        async for chunk in body:
            await self._peer.send(PeerMessage("artifact", name=name, data=chunk))
        return Artifact(name, about["size"], None)


class WaitingClient(PushClient):
    def __init__(self, source: WaitingSource, credits_: Credits) -> None:
        self._source, self._credits, self._peer = source, credits_, WaitingPeer()
        self._run: RunKey | None = None

    async def dispatch(self, task_id: str, document: Document) -> None:
        outcome = self._credits.offer(Offer(Submission(task_id, document), self._peer))
        if isinstance(outcome, OfferRefused):
            self._peer.messages.put_nowait(PeerMessage("refusal", f"{outcome.reason}: {outcome.why}"))
        else:
            self._run = self._source.runs[task_id] = outcome.run

    async def resume(self, task_id: str) -> None:
        self._run = self._source.runs[task_id]
        assert self._credits.attach(self._run, self._peer)

    async def receive(self) -> PeerMessage:
        if self._peer.gone:
            raise EOFError
        message = await self._peer.messages.get()
        self._peer.messages.task_done()
        return message

    async def cancel(self) -> None:
        assert self._run
        self._credits.withdraw(self._run, canceled=True, why="not wanted any more")

    async def disconnect(self) -> None:
        self._peer.gone = True
        if self._run:
            self._credits.detach(self._run)


class TestWaitingSource(PushSourceConformance):
    patience = 30.0
    limit = 4 * 3600.0

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        clock.run(main)

    def queue(self, worker_id: str, home: Path) -> Queue:
        self._source = WaitingSource()
        return PushQueue(self._source, worker_id, home)

    async def connect(self) -> PushClient:
        if self._source.credits is None:
            raise OSError
        return WaitingClient(self._source, self._source.credits)


class TestLineSource(PushSourceConformance):
    """The source of the examples."""

    carries = frozenset({"refusals", "states", "log", "artifacts", "cancel"})
    source: type[LineSource] = LineSource

    def queue(self, worker_id: str, home: Path) -> Queue:
        self._path = home / "lines.sock"
        return PushQueue(self.source(str(self._path)), worker_id, home)

    async def connect(self) -> PushClient:
        return await LineClient.connect(self._path)


class TestKeepingLineSource(TestLineSource):
    carries = PushSourceConformance.carries
    source = KeepingLineSource
