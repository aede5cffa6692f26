"""ScriptedSource: a push source without a network, for tests of what is pushed.

::

    source = ScriptedSource()
    queue = PushQueue(source)
    peer = await source.dispatch(Submission("one", {}))   # waits for a slot; `offer` is refused when there is none
    ...
    assert await peer.answered() == COMPLETED
"""

from __future__ import annotations

import asyncio

from taskrunner.errors import ClaimLost
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.push import Credits, Offer, Peer, PushSource
from taskrunner.model import Resolution, Submission


class ScriptedPeer(Peer):
    """The peer that dispatched one run. It keeps what the queue sends, and disconnects or cancels on demand."""

    def __init__(self, task_id: str, store: ArtifactStore | None = None) -> None:
        self.task_id = task_id
        self.log: list[tuple[int, bytes]] = []
        """Offsets and pieces, in the order of their arrival."""
        self.refusals: list[str] = []
        self.answers: list[Resolution] = []
        self.reads = asyncio.Event()
        """While it is cleared, the peer reads neither log nor answer."""
        self.reads.set()
        self._store = store
        self._answered = asyncio.Event()
        self._disconnected = False
        self._credits: Credits | None = None

    async def answer(self, resolution: Resolution) -> None:
        await self._reading()
        self.answers.append(resolution)
        self._answered.set()

    async def refuse(self, reason: str) -> None:
        await self._reading()
        self.refusals.append(reason)
        self._answered.set()

    async def send_log(self, offset: int, chunk: bytes) -> None:
        await self._reading()
        self.log.append((offset, chunk))

    def artifacts(self) -> ArtifactStore | None:
        return self._store

    async def answered(self) -> Resolution | str:
        """Waits for the end of the dialogue: the answer, or the reason of a refusal."""
        await self._answered.wait()
        return self.answers[0] if self.answers else self.refusals[0]

    def disconnect(self, why: str = "the connection broke") -> None:
        """Ends the connection: every later call of the queue fails."""
        self._disconnected = True
        self._lose(canceled=False, why=why)

    def cancel(self, why: str = "not wanted any more") -> None:
        """Cancels the run. The peer still waits for the answer."""
        self._lose(canceled=True, why=why)

    def _lose(self, *, canceled: bool, why: str) -> None:
        if self._credits:
            self._credits.withdraw(self.task_id, canceled=canceled, why=why)

    def accepted(self, credits_: Credits) -> None:
        """Called by the source when the queue has accepted the run."""
        self._credits = credits_

    async def _reading(self) -> None:
        await self.reads.wait()
        if self._disconnected:
            raise ClaimLost("disconnected")


class ScriptedSource(PushSource):
    """A source whose offers a test makes."""

    def __init__(self, store: ArtifactStore | None = None) -> None:
        self._store = store
        self._credits: asyncio.Queue[Credits] = asyncio.Queue()
        self._failure: asyncio.Future[None] | None = None

    async def serve(self, credits: Credits) -> None:  # noqa: A002  the interface's word
        self._failure = asyncio.get_running_loop().create_future()
        self._credits.put_nowait(credits)
        try:
            await self._failure
        finally:
            self._credits = asyncio.Queue()

    def fail(self, error: BaseException) -> None:
        """Ends `serve` with this error."""
        if self._failure:
            self._failure.set_exception(error)

    async def credits(self) -> Credits:
        """Waits until a queue is served by this source, and returns its credits."""
        served = await self._credits.get()
        self._credits.put_nowait(served)
        return served

    async def offer(self, submission: Submission) -> ScriptedPeer | None:
        """Offers a run now. Returns None when it was refused."""
        credits_, peer = await self.credits(), ScriptedPeer(submission.task_id, self._store)
        if not credits_.offer(Offer(submission, peer)):
            return None
        peer.accepted(credits_)
        return peer

    async def dispatch(self, submission: Submission) -> ScriptedPeer:
        """Offers a run again and again until it is accepted."""
        while not (peer := await self.offer(submission)):  # noqa: ASYNC110  see below
            await asyncio.sleep(0.01)  # a source has no notice of a free slot
        return peer


__all__ = ["ScriptedPeer", "ScriptedSource"]
